import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { apiKey, secretKey } from '../../stack/generated-keys.ts';
import { lockDataFolder, openDataFolder } from '../../stack/lock-data-folder.ts';
import { identify } from '../../stack/process-identity.ts';
import { removeSocketFolder, socketFolder } from '../../stack/socket-folder.ts';
import { temporaryFolders } from './folders.ts';

const temporaryFolder = temporaryFolders();

test('a lock keeps others out until it is released', () => {
  const folder = temporaryFolder();
  const lock = lockDataFolder(folder);
  expect(() => lockDataFolder(folder)).toThrow(`process ${process.pid}`);
  lock.release();
  lockDataFolder(folder).release();
  expect(readdirSync(folder)).toEqual([]);
});

test.each([
  ['of a process that is gone', JSON.stringify({ pid: 2 ** 22, startedAs: 'x' })],
  ['of a number that somebody else has now', JSON.stringify({ pid: 1, startedAs: 'before the boot' })],
  ['cut short', '{"pid"'],
  ['empty', ''],
])('a lock %s counts for nothing', (_what, content) => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'lock'), content);
  lockDataFolder(folder).release();
});

test('releasing does not take a lock away that has become another process’s', () => {
  const folder = temporaryFolder();
  const lock = lockDataFolder(folder);
  const parent = identify(process.ppid);
  writeFileSync(join(folder, 'lock'), JSON.stringify(parent));
  lock.release();
  expect(() => lockDataFolder(folder)).toThrow(`process ${process.ppid}`);
});

test('of many that find the same stale lock at once, exactly one gets it', async () => {
  const folder = temporaryFolder();
  const script = fileURLToPath(new URL('stand-ins/lock.ts', import.meta.url));
  for (let round = 0; round < 3; round++) {
    writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: 2 ** 22, startedAs: 'x' }));
    const children = Array.from({ length: 6 }, () =>
      spawn(process.execPath, [script, folder], { stdio: ['pipe', 'pipe', 'ignore'] }),
    );
    const outcomes = await Promise.all(
      children.map(
        (child) => new Promise<string>((resolve) => child.stdout.once('data', (data) => resolve(String(data).trim()))),
      ),
    );
    // The winner still holds it: they end only now.
    for (const child of children) child.stdin.end();
    await Promise.all(children.map((child) => new Promise((resolve) => child.once('close', resolve))));
    expect(outcomes.filter((outcome) => outcome === 'locked')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'folder-in-use')).toHaveLength(5);
  }
});

test('a folder is known by one name, whatever way leads to it', () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'data'));
  symlinkSync(join(folder, 'data'), join(folder, 'link'));
  expect(openDataFolder(join(folder, 'link'))).toBe(openDataFolder(join(folder, 'x', '..', 'data')));
  expect(statSync(openDataFolder(join(folder, 'new', 'one'))).mode & 0o777).toBe(0o700);
  expect(() => openDataFolder('/dev/null/x')).toThrow('cannot be made');
});

test('sockets lie in the data folder where the path is short, else in a short folder of this user', () => {
  const folder = temporaryFolder();
  expect(socketFolder(folder)).toBe(join(folder, 'run'));
  const deep = join(folder, 'x'.repeat(100));
  const sockets = socketFolder(deep, folder);
  expect(Buffer.byteLength(join(sockets, 'mysql.sock'))).toBeLessThanOrEqual(103);
  expect(sockets.startsWith(folder)).toBe(true);
  expect(socketFolder(deep, folder)).toBe(sockets);
  expect(socketFolder(`${deep}y`, folder)).not.toBe(sockets);
  expect(statSync(sockets).mode & 0o777).toBe(0o700);
  removeSocketFolder(deep, sockets);
  expect(() => statSync(sockets)).toThrow('ENOENT');
});

test('a link in the place of the short folder is not followed', () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'of-somebody-else'));
  symlinkSync(join(folder, 'of-somebody-else'), join(folder, `espalier-${process.getuid?.() ?? 0}`));
  expect(() => socketFolder(join(folder, 'x'.repeat(100)), folder)).toThrow('is not a folder of this user');
});

test('keys are made once, for this user only, and a lost or damaged one is not silently replaced', () => {
  const folder = temporaryFolder();
  const first = secretKey(folder);
  expect(first).toMatchObject({ isNew: true, value: expect.stringMatching(/^[0-9a-f]{64}$/) });
  expect(secretKey(folder)).toEqual({ ...first, isNew: false });
  expect(apiKey(folder).value).toBe(apiKey(folder).value);
  expect(apiKey(folder).value).toMatch(/^[\w-]{32}$/);
  expect(statSync(first.file).mode & 0o777).toBe(0o600);
  writeFileSync(first.file, first.value.slice(0, 20));
  expect(() => secretKey(folder)).toThrow('64 hex digits');
  const other = temporaryFolder();
  mkdirSync(join(other, 'mysql'));
  expect(() => secretKey(other)).toThrow('is gone');
});
