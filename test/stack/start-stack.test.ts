import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import { afterEach, expect, test } from 'vitest';
import { readPidFile } from '../../stack/pid-file.ts';
import { identify, isAlive } from '../../stack/process-identity.ts';
import type { KeptProcess } from '../../stack/running-process.ts';
import type { Stack, StackOptions } from '../../stack/start-stack.ts';
import { startStack } from '../../stack/start-stack.ts';
import { eventually, temporaryFolders } from './folders.ts';

const temporaryFolder = temporaryFolders();
const running: Stack[] = [];
const lines: string[] = [];

afterEach(async () => {
  for (const stack of running.splice(0)) await stack.stop(AbortSignal.abort());
  lines.length = 0;
});

async function start(dataDir: string, more: Partial<StackOptions> = {}): Promise<Stack> {
  const stack = await startStack({ dataDir, env: process.env, log: (line) => lines.push(line), ...more });
  running.push(stack);
  return stack;
}

async function query(stack: Stack, sql: string): Promise<unknown> {
  const connection = await mysql.createConnection(stack.databaseUrl);
  try {
    return (await connection.query(sql))[0];
  } finally {
    connection.destroy();
  }
}

async function withRedis<T>(stack: Stack, act: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(stack.redisUrl);
  try {
    return await act(redis);
  } finally {
    redis.disconnect();
  }
}

async function killAndAwaitReturn(server: KeptProcess | undefined): Promise<void> {
  const before = server?.pid;
  server?.signal('SIGKILL');
  await eventually(`${server?.name} is back`, () => server?.pid !== undefined && server.pid !== before);
}

test('both answer, with the settings that the rest relies on, and stop leaves no process', async () => {
  const dataDir = temporaryFolder();
  const stack = await start(dataDir);
  expect(await query(stack, 'SELECT DATABASE() AS name, @@session.time_zone AS zone')).toEqual([
    { name: 'espalier', zone: '+00:00' },
  ]);
  const isolation = stack.databaseFlavour === 'mariadb' ? 'tx_isolation' : 'transaction_isolation';
  expect(
    await query(
      stack,
      `SELECT @@${isolation} AS isolation, @@innodb_flush_log_at_trx_commit AS flushed, @@log_bin AS log_bin,
        @@skip_networking AS local, @@collation_database AS collation, @@max_connections AS connections`,
    ),
  ).toEqual([
    {
      isolation: 'READ-COMMITTED',
      flushed: 1,
      log_bin: 0,
      local: 1,
      collation: 'utf8mb4_unicode_520_ci',
      connections: 300,
    },
  ]);
  expect(await withRedis(stack, (redis) => redis.config('GET', 'maxmemory-policy'))).toContain('noeviction');
  expect(await withRedis(stack, (redis) => redis.config('GET', 'appendonly'))).toContain('yes');
  const pids = [stack.database?.pid, stack.redis?.pid].flatMap((pid) => pid ?? []);
  expect(pids).toHaveLength(2);
  await stack.stop();
  expect(pids.flatMap((pid) => identify(pid) ?? [])).toEqual([]);
  expect(existsSync(join(dataDir, 'lock'))).toBe(false);
});

test('killed at any time, each comes back by itself and has kept what it had acknowledged', async () => {
  const stack = await start(temporaryFolder());
  await query(stack, 'CREATE TABLE kept (id INT PRIMARY KEY)');
  await query(stack, 'INSERT INTO kept VALUES (7)');
  await withRedis(stack, (redis) => redis.set('kept', '7'));
  await Promise.all([killAndAwaitReturn(stack.database), killAndAwaitReturn(stack.redis)]);
  expect(await query(stack, 'SELECT id FROM kept')).toEqual([{ id: 7 }]);
  expect(await withRedis(stack, (redis) => redis.get('kept'))).toBe('7');
  expect(lines.filter((line) => line.includes('SIGKILL'))).toHaveLength(2);
});

test('servers that outlived their parent are recognised as ours, even without pid files, and stopped', async () => {
  const dataDir = temporaryFolder();
  const first = await start(dataDir);
  const orphans = [first.database?.pid, first.redis?.pid].flatMap((pid) => identify(pid ?? 0) ?? []);
  expect(orphans).toHaveLength(2);
  const noted = readPidFile(join(dataDir, 'run', 'mysql.pid'));
  expect(noted).toEqual(orphans[0]);
  // What a parent killed with -9 leaves: a lock of nobody, running servers, and here one pid file lost.
  writeFileSync(join(dataDir, 'lock'), JSON.stringify({ pid: process.pid, startedAs: 'long ago' }));
  rmSync(join(dataDir, 'run', 'redis.pid'));
  const second = await start(dataDir);
  expect(orphans.filter(isAlive)).toEqual([]);
  expect(lines.filter((line) => line.includes('left behind'))).toHaveLength(2);
  expect(await query(second, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('stale sockets, pid files, locks and half-made databases are no obstacle', async () => {
  const dataDir = temporaryFolder();
  mkdirSync(join(dataDir, 'run'));
  mkdirSync(join(dataDir, 'mysql.new-123'));
  writeFileSync(join(dataDir, 'mysql.new-123', 'ibdata1'), 'cut sh');
  for (const name of ['mysql.pid', 'redis.pid', 'redis.sock']) writeFileSync(join(dataDir, 'run', name), '{"pid": 1');
  writeFileSync(join(dataDir, 'lock'), '');
  const socket = createServer().listen(join(dataDir, 'run', 'mysql.sock'));
  const stack = await start(dataDir);
  expect(await query(stack, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(await withRedis(stack, (redis) => redis.ping())).toBe('PONG');
  expect(readdirSync(dataDir)).not.toContain('mysql.new-123');
  socket.close();
});

test('a second start on the same folder is refused and names the first', async () => {
  const dataDir = temporaryFolder();
  const stack = await start(dataDir);
  await expect(start(dataDir)).rejects.toMatchObject({
    code: 'folder-in-use',
    message: expect.stringContaining(`process ${process.pid}`),
  });
  expect(await query(stack, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a folder of another flavour, a newer version or an unknown maker is refused; one of an older version is not', async () => {
  const dataDir = temporaryFolder();
  const first = await start(dataDir);
  await first.stop();
  const makerFile = join(dataDir, 'mysql', 'made-by.json');
  const maker = readFileSync(makerFile, 'utf8');
  const other = first.databaseFlavour === 'mysql' ? 'mariadb' : 'mysql';
  const version: unknown = JSON.parse(maker).version;
  for (const [made, says] of [
    [{ flavour: other, version }, 'was made by'],
    [{ flavour: first.databaseFlavour, version: [99, 0, 1] }, '99.0.1'],
    ['not ours', 'did not make'],
  ] as const) {
    writeFileSync(makerFile, JSON.stringify(made));
    await expect(start(dataDir)).rejects.toMatchObject({
      code: 'folder-of-other-server',
      message: expect.stringContaining(says),
    });
  }
  writeFileSync(makerFile, JSON.stringify({ flavour: first.databaseFlavour, version: [8, 0, 0] }));
  await start(dataDir);
  expect(readFileSync(makerFile, 'utf8')).toBe(maker);
});

test('a disk that is nearly full is noticed before anything is written', async () => {
  const dataDir = temporaryFolder();
  const freeBytes = async (): Promise<number> => 150 * 1024 * 1024;
  await expect(start(dataDir, { freeBytes })).rejects.toMatchObject({
    code: 'disk-full',
    message: expect.stringContaining('only 150 MB are free'),
  });
  expect(existsSync(join(dataDir, 'mysql'))).toBe(false);
  expect(existsSync(join(dataDir, 'lock'))).toBe(false);
});

test('a server that ends at once is reported with the end of its log, a full disk as such', async () => {
  const dataDir = temporaryFolder();
  const first = await start(dataDir, { throwAway: true });
  await first.stop();
  const { flavour, version } = JSON.parse(readFileSync(join(dataDir, 'mysql', 'made-by.json'), 'utf8'));
  const suffix = flavour === 'mariadb' ? '-MariaDB' : '';
  const fake = join(dataDir, 'mysqld');
  const startFake = (complaint: string): Promise<Stack> => {
    const identity = `mysqld  Ver ${version.join('.')}${suffix} for Linux`;
    const script = `#!/bin/sh\n[ "$1" = --version ] && echo "${identity}" && exit 0\necho "${complaint}" >&2\nexit 3\n`;
    writeFileSync(fake, script, { mode: 0o755 });
    return start(dataDir, { env: { ...process.env, TEST_MYSQLD: fake } });
  };
  await expect(startFake('[ERROR] unknown option frobnicate')).rejects.toMatchObject({
    code: 'server-failed',
    message: expect.stringMatching(/status 3[\s\S]*unknown option frobnicate/),
  });
  await expect(startFake('InnoDB: Error 28: No space left on device')).rejects.toMatchObject({ code: 'disk-full' });
});

test('files that Redis cannot read are set aside: it holds nothing that MySQL does not', async () => {
  const dataDir = temporaryFolder();
  const first = await start(dataDir);
  await withRedis(first, (redis) => redis.set('kept', '7'));
  await first.stop();
  const files = join(dataDir, 'redis', 'appendonlydir');
  for (const name of readdirSync(files)) writeFileSync(join(files, name), 'neither a manifest nor a log');
  cpSync(files, join(dataDir, 'redis', 'copy'), { recursive: true });
  const second = await start(dataDir);
  expect(await withRedis(second, (redis) => redis.get('kept'))).toBeNull();
  expect(readdirSync(dataDir).filter((name) => name.startsWith('redis.unreadable-'))).toHaveLength(1);
});

test('a folder that is too deep for Unix sockets works', async () => {
  const dataDir = join(temporaryFolder(), 'x'.repeat(60), 'y with spaces', 'z'.repeat(60));
  const stack = await start(dataDir, { throwAway: true });
  expect(await query(stack, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(await withRedis(stack, (redis) => redis.ping())).toBe('PONG');
});

test('with both URLs given nothing is started', async () => {
  const dataDir = temporaryFolder();
  const stack = await start(dataDir, { databaseUrl: 'mysql://db/x', redisUrl: 'redis://there' });
  expect(stack).toMatchObject({ databaseUrl: 'mysql://db/x', redisUrl: 'redis://there', database: undefined });
  expect(readdirSync(dataDir).sort()).toEqual(['lock', 'run']);
});
