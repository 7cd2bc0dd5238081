import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findDatabaseBinary, findRedisBinary, identifyDatabase, identifyRedis } from '../../stack/find-binaries.ts';
import { adviceFor, readCandidate } from '../../stack/install-binaries.ts';
import { temporaryFolders } from './folders.ts';

const temporaryFolder = temporaryFolders();

/** A program that only knows its version. */
function program(name: string, answer: string): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 });
  return path;
}

test.each([
  ['mysqld  Ver 8.4.6 for Linux on x86_64 (MySQL Community Server - GPL)', 'mysql', [8, 4, 6]],
  ['/opt/fs/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))', 'mysql', [9, 7, 4]],
  ['mysqld  Ver 8.4.3-3 for Linux on x86_64 (Percona Server (GPL), Release 3)', 'mysql', [8, 4, 3]],
  ['mysqld  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)', 'mariadb', [10, 11, 19]],
  ['/opt/homebrew/bin/mariadbd  Ver 12.0.2-MariaDB for osx10.21 on arm64 (Homebrew)', 'mariadb', [12, 0, 2]],
] as const)('knows %s', (output, flavour, version) => {
  expect(identifyDatabase(output)).toEqual({ flavour, version });
});

test.each([
  ['Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=f5e9d0a', 'redis', [7, 0, 15]],
  ['Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1', 'valkey', [9, 1, 2]],
] as const)('knows %s', (output, flavour, version) => {
  expect(identifyRedis(output)).toEqual({ flavour, version });
});

test('what is neither is not taken for one', () => {
  expect(identifyDatabase('psql (PostgreSQL) 15.1')).toBeUndefined();
  expect(identifyRedis('redis-cli 7.0.15')).toBeUndefined();
});

test('a program that is named wins over those on the PATH', async () => {
  const path = program('my-own', 'mysqld  Ver 8.4.0 for Linux');
  expect(await findDatabaseBinary({ ...process.env, TEST_MYSQLD: path })).toMatchObject({ path, flavour: 'mysql' });
  const redis = program('valkey-server', 'Valkey server v=8.0.0 sha=0');
  expect(await findRedisBinary({ ...process.env, REDIS_SERVER: redis })).toMatchObject({
    path: redis,
    flavour: 'valkey',
  });
});

test.each([
  ['TEST_MYSQLD', 'mysqld', 'mysqld  Ver 8.0.43 for Linux', 'MySQL 8.0.43'],
  ['MYSQLD', 'mariadbd', 'mariadbd  Ver 10.6.22-MariaDB for Linux', 'MariaDB 10.6.22'],
  ['REDIS_SERVER', 'redis-server', 'Redis server v=6.0.16 sha=0', 'Redis 6.0.16'],
])('%s that names one too old is refused, saying what is needed', async (variable, name, answer, says) => {
  const path = program(name, answer);
  const env = { ...process.env, TEST_MYSQLD: '', [variable]: path };
  const found = variable === 'REDIS_SERVER' ? findRedisBinary(env) : findDatabaseBinary(env);
  await expect(found).rejects.toMatchObject({ code: 'binary-too-old', message: expect.stringContaining(says) });
});

test('a named program that does not run is an error, never silently another one', async () => {
  const env = { ...process.env, TEST_MYSQLD: '/nowhere/mysqld' };
  await expect(findDatabaseBinary(env)).rejects.toMatchObject({ code: 'binary-unusable' });
  const notOne = program('mysqld', 'hello');
  await expect(findDatabaseBinary({ ...env, TEST_MYSQLD: notOne })).rejects.toMatchObject({
    code: 'binary-unusable',
    message: expect.stringContaining('hello'),
  });
});

test("reads apt's candidate, and its absence", () => {
  const policy = 'mariadb-server-core:\n  Installed: (none)\n  Candidate: 1:10.11.19-0+deb12u1\n  Version table:\n';
  expect(readCandidate(policy)).toEqual([10, 11, 19]);
  expect(readCandidate('redis-tools:\n  Installed: (none)\n  Candidate: 5:8.0-1\n')).toEqual([8, 0, 0]);
  expect(readCandidate('x:\n  Installed: (none)\n  Candidate: (none)\n')).toBeUndefined();
  expect(readCandidate('')).toBeUndefined();
});

test('says exactly what to type where it may not install', () => {
  const debian = { installer: 'apt', mayInstall: false, isRoot: false } as const;
  expect(adviceFor(debian, ['database', 'redis'])).toContain(
    'sudo apt-get install --no-install-recommends mariadb-server-core mariadb-client-core redis-tools',
  );
  const mac = { installer: 'brew', mayInstall: false, isRoot: true } as const;
  expect(adviceFor(mac, ['redis'])).toMatch(/brew install redis$/m);
  const other = { installer: undefined, mayInstall: false, isRoot: false } as const;
  expect(adviceFor(other, ['database'])).toContain('MYSQLD');
});
