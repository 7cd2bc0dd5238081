import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { readPidFile } from '../../stack/pid-file.ts';
import type { ProcessIdentity } from '../../stack/process-identity.ts';
import { isAlive } from '../../stack/process-identity.ts';
import { signal } from '../../stack/stop-process.ts';
import { eventually, temporaryFolders } from './folders.ts';

// `npm start` as a process of its own, with stand-ins for the server, the workers and the migration.

const NAMES = ['server', 'workers', 'redis', 'mysql'] as const;
const temporaryFolder = temporaryFolders();
const started: Run[] = [];

type Run = { readonly child: ChildProcess; readonly dataDir: string; readonly port: number; output: string };

afterEach(async () => {
  for (const run of started.splice(0)) {
    for (const identity of everyone(run)) signal(identity, 'SIGKILL');
    run.child.kill('SIGKILL');
    await eventually('all are gone', () => hasEnded(run) && everyone(run).every((identity) => !isAlive(identity)));
  }
});

const hasEnded = ({ child }: Run): boolean => child.exitCode !== null || child.signalCode !== null;
const pidFile = (run: Run, name: string): ProcessIdentity | undefined =>
  readPidFile(join(run.dataDir, 'run', `${name}.pid`));
const everyone = (run: Run): readonly ProcessIdentity[] => NAMES.flatMap((name) => pidFile(run, name) ?? []);

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, resolve));
  const address = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return address.port;
}

function launch(dataDir: string, port: number, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Run {
  const script = fileURLToPath(new URL('stand-ins/start.ts', import.meta.url));
  const child = spawn(process.execPath, [script, '--data-dir', dataDir, '--port', String(port), ...args], {
    env: { ...process.env, DATABASE_URL: '', REDIS_URL: '', SECRET_KEY: '', API_KEY: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run: Run = { child, dataDir, port, output: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      run.output += chunk;
    });
  }
  started.push(run);
  return run;
}

async function start(dataDir: string, port?: number): Promise<Run> {
  const run = launch(dataDir, port ?? (await freePort()));
  await eventually('Espalier runs', () => run.output.includes('Ctrl-C stops it') || hasEnded(run));
  expect(run.output).toContain('Espalier runs.');
  return run;
}

async function end(run: Run, name: NodeJS.Signals = 'SIGINT'): Promise<void> {
  run.child.kill(name);
  await eventually('it ends', () => hasEnded(run));
}

async function ask(run: Run): Promise<Record<string, unknown>> {
  const response = await fetch(`http://localhost:${run.port}/`, { headers: { connection: 'close' } });
  if (!response.ok) throw new Error(await response.text());
  const answer: unknown = await response.json();
  return { ...(answer as object) };
}

test('starts everything, says where it is, stops in order on Ctrl-C, and finds its data again', async () => {
  const dataDir = temporaryFolder();
  const first = await start(dataDir);
  const key = readFileSync(join(dataDir, 'api-key'), 'utf8').trim();
  for (const said of [key, '/admin/queues', '/mdm', 'npm run simulate -- --devices 50', `:${first.port}`]) {
    expect(first.output).toContain(said);
  }
  for (const name of ['api-key', 'secret-key']) expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
  expect(await ask(first)).toMatchObject({
    rows: [{ starts: 1 }],
    pong: 'PONG',
    secretKeyLength: 64,
    API_KEY: key,
    DATA_DIR: dataDir,
  });
  const processes = everyone(first);
  expect(processes).toHaveLength(4);
  await end(first);
  expect(first.child.exitCode).toBe(0);
  expect(processes.filter(isAlive)).toEqual([]);
  const second = await start(dataDir, first.port);
  expect(await ask(second)).toMatchObject({ rows: [{ starts: 2 }], API_KEY: key });
  expect(second.output).not.toContain(key);
  expect(second.output).not.toContain('left behind');
  await end(second, 'SIGTERM');
  expect(second.child.exitCode).toBe(0);
});

test('whatever is killed is started again while the parent lives', async () => {
  const run = await start(temporaryFolder());
  for (const name of NAMES) {
    const before = pidFile(run, name);
    if (before === undefined) throw new Error(`${name} runs`);
    signal(before, 'SIGKILL');
    await eventually(`${name} is back`, () => {
      const now = pidFile(run, name);
      return now !== undefined && now.pid !== before.pid && isAlive(now);
    });
  }
  await eventually('all four were reported back', () => run.output.match(/ runs again /g)?.length === 4);
  expect(await ask(run)).toMatchObject({ rows: [{ starts: 1 }], pong: 'PONG' });
  await end(run);
});

test('a killed parent blocks nothing: the children end by themselves, the next start stops the servers', async () => {
  const dataDir = temporaryFolder();
  const first = await start(dataDir);
  const [server, workers, redis, mysql] = NAMES.map((name) => pidFile(first, name));
  if (!server || !workers || !redis || !mysql) throw new Error('all four run');
  await end(first, 'SIGKILL');
  const second = await start(dataDir, first.port);
  expect([server, workers, redis, mysql].filter(isAlive)).toEqual([]);
  expect(second.output).toMatch(/Stopping a database server .*left behind/);
  expect(await ask(second)).toMatchObject({ rows: [{ starts: 2 }], pong: 'PONG' });
  await end(second);
});

test('a busy port is named at once, with a way out, and nothing is started', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '0.0.0.0', resolve));
  const { port } = other.address() as AddressInfo;
  const run = launch(temporaryFolder(), port);
  await eventually('it gives up', () => hasEnded(run));
  expect(run.child.exitCode).toBe(1);
  expect(run.output).toContain(`Port ${port} is already in use`);
  expect(run.output).toContain('npm start -- --port');
  expect(run.output).not.toContain('    at ');
  expect(run.output).not.toContain('Making a new');
  other.close();
});

test('a second start on the same folder names the process of the first', async () => {
  const run = await start(temporaryFolder());
  const second = launch(run.dataDir, await freePort());
  await eventually('it gives up', () => hasEnded(second));
  expect(second.child.exitCode).toBe(1);
  expect(second.output).toContain(`process ${run.child.pid}`);
  expect(await ask(run)).toMatchObject({ pong: 'PONG' });
  await end(run);
});

test('wrong flags and variables are all named before anything is started', async () => {
  const run = launch(temporaryFolder(), 1, ['--log-level', 'loud'], { SECRET_KEY: 'short' });
  await eventually('it gives up', () => hasEnded(run));
  expect(run.child.exitCode).toBe(1);
  expect(run.output).toMatch(/SECRET_KEY[\s\S]*LOG_LEVEL|LOG_LEVEL[\s\S]*SECRET_KEY/);
  expect(run.output).not.toContain('Making a new');
});

test('a migration that fails ends the start, and leaves nothing running', async () => {
  const run = launch(temporaryFolder(), await freePort(), [], { STAND_IN_MIGRATE: 'migrate-fails.ts' });
  await eventually('it gives up', () => hasEnded(run));
  expect(run.child.exitCode).toBe(1);
  expect(run.output).toContain('the migration ended with status 3');
  expect(everyone(run)).toEqual([]);
});

test('Ctrl-C in the middle of the start stops what has been started', async () => {
  const run = launch(temporaryFolder(), await freePort());
  await eventually('the database is being made', () => run.output.includes('Making a new'));
  await end(run);
  expect(run.child.exitCode).toBe(0);
  expect(run.output).not.toContain('Espalier runs');
  expect(everyone(run)).toEqual([]);
});

test('a second Ctrl-C does not wait for a server that does not listen', async () => {
  const run = launch(temporaryFolder(), await freePort(), [], { STAND_IN_SERVER: 'server-deaf.ts' });
  await eventually('Espalier runs', () => run.output.includes('Ctrl-C stops it'));
  const processes = everyone(run);
  await eventually(
    'it ends',
    () => {
      run.child.kill('SIGINT');
      return hasEnded(run);
    },
    20_000,
  ); // shorter than the server's own time
  expect(processes.filter(isAlive)).toEqual([]);
});
