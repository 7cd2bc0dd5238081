import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { identify, isAlive } from '../../stack/process-identity.ts';
import { startThrowAwayStack } from '../../stack/throw-away-stack.ts';
import { eventually } from './folders.ts';

type Told = { readonly dataDir: string; readonly pids: readonly number[] };

const env = { ...process.env, DATABASE_URL: '', REDIS_URL: '' };

/** A process with a throw-away stack of its own, which never stops it. */
async function startCareless(): Promise<Told & { readonly child: ReturnType<typeof spawn> }> {
  const script = fileURLToPath(new URL('stand-ins/careless.ts', import.meta.url));
  const child = spawn(process.execPath, [script], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  const told: Told = JSON.parse(String(line));
  return { ...told, child };
}

test('a process that ends without stopping its stack takes the servers and the folder along', async () => {
  const { child, dataDir, pids } = await startCareless();
  const servers = pids.flatMap((pid) => identify(pid) ?? []);
  expect(servers).toHaveLength(2);
  child.stdin?.end(); // it ends by itself now
  await once(child, 'exit');
  await eventually('the servers are gone', () => !servers.some(isAlive));
  expect(existsSync(dataDir)).toBe(false);
});

test('what a killed process leaves is cleared up by the next throw-away stack; one that is alive is left alone', async () => {
  const [killed, alive] = await Promise.all([startCareless(), startCareless()]);
  const orphans = killed.pids.flatMap((pid) => identify(pid) ?? []);
  const others = alive.pids.flatMap((pid) => identify(pid) ?? []);
  killed.child.kill('SIGKILL');
  await once(killed.child, 'exit');
  expect(orphans.every(isAlive)).toBe(true);
  const stack = await startThrowAwayStack(env);
  expect(orphans.some(isAlive)).toBe(false);
  expect(existsSync(killed.dataDir)).toBe(false);
  expect(others.every(isAlive)).toBe(true);
  await stack.stop();
  alive.child.stdin?.end();
  await once(alive.child, 'exit');
});

test('a server that was killed can be started again by the test', async () => {
  const stack = await startThrowAwayStack(env);
  const before = stack.redis?.pid;
  stack.redis?.signal('SIGKILL');
  await stack.redis?.stop();
  expect(stack.redis?.pid).toBeUndefined();
  await stack.redis?.start();
  expect(stack.redis?.pid).not.toBe(before);
  await stack.stop();
});
