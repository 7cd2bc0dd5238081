import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// Two ways to look at docker-compose.yml: Compose's own reading, where Compose is installed (it needs no engine for
// that), and the text, always.

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (name: string): string => readFileSync(`${root}${name}`, 'utf8');
const text = read('docker-compose.yml');
const secrets = { SECRET_KEY: 'a'.repeat(64), API_KEY: 'key', DATABASE_PASSWORD: 'password' };

/** The lines of one service, from its name to the next name of the same depth. */
function service(name: string): string {
  const match = new RegExp(`^  ${name}:\\n((?:    .*\\n|\\n)*)`, 'm').exec(text);
  if (match?.[1] === undefined) throw new Error(`no service ${name}`);
  return match[1];
}

const compose = [
  ['docker-compose', []],
  ['docker', ['compose']],
] as const;
const found = compose.find(([program, args]) => spawnSync(program, [...args, 'version']).status === 0);

function config(env: Record<string, string>) {
  if (found === undefined) return undefined;
  const [program, args] = found;
  const { status, stdout, stderr } = spawnSync(program, [...args, '--profile', 'simulator', 'config'], {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  });
  return { status, stdout, stderr };
}

test('Compose understands the file', () => {
  const result = config(secrets) ?? { status: 0, stdout: text, stderr: '' };
  expect(result).toMatchObject({ status: 0 });
  for (const name of ['mysql', 'redis', 'migrate', 'server', 'worker', 'simulator']) {
    expect(result.stdout).toMatch(new RegExp(`^  ${name}:`, 'm'));
  }
});

test.each(Object.keys(secrets))('without %s nothing starts, and the message names it', (name) => {
  expect(text).toContain(`\${${name}:?`);
  const result = config({ ...secrets, [name]: '' });
  if (result !== undefined) expect(result).toMatchObject({ stderr: expect.stringMatching(/\S/) });
  expect(result?.status ?? 1).not.toBe(0);
});

test('workers can be scaled: no name and no port of their own', () => {
  expect(text).not.toContain('container_name');
  expect(service('worker')).not.toContain('ports:');
  expect(service('server')).toContain('ports:');
});

test('the settings that correctness relies on are there', () => {
  for (const option of ['--transaction-isolation=READ-COMMITTED', '--innodb-flush-log-at-trx-commit=1']) {
    expect(service('mysql')).toContain(option);
  }
  expect(service('redis')).toMatch(/"--appendonly",\s*"yes"[\s\S]*"--maxmemory-policy",\s*"noeviction"/);
  for (const name of ['mysql', 'redis']) expect(service(name)).toMatch(/volumes:[\s\S]*healthcheck:/);
  for (const name of ['server', 'worker']) {
    expect(service(name)).toContain('migrate: { condition: service_completed_successfully }');
  }
});

test('the image installs exactly the lockfile, runs as an ordinary user, and takes no secrets along', () => {
  const dockerfile = read('Dockerfile');
  expect(dockerfile).toContain('npm ci --omit=dev --omit=optional');
  expect(dockerfile.lastIndexOf('USER node')).toBeGreaterThan(dockerfile.lastIndexOf('FROM'));
  const ignored = read('.dockerignore').split('\n');
  expect(ignored).toEqual(expect.arrayContaining(['.env', '.env.*', '.espalier*', '.git', 'node_modules']));
});
