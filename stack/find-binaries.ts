import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { runProgram } from './run-program.ts';
import { messageOf, StackError } from './stack-error.ts';

export type DatabaseFlavour = 'mysql' | 'mariadb';
export type RedisFlavour = 'redis' | 'valkey';
export type Version = readonly [major: number, minor: number, patch: number];

/** A server program: `argv0` is the name it must be started under, which is not always that of its file. */
export type ServerBinary<Flavour extends string> = {
  readonly path: string;
  readonly argv0: string;
  readonly flavour: Flavour;
  readonly version: Version;
};
export type DatabaseBinary = ServerBinary<DatabaseFlavour>;
export type RedisBinary = ServerBinary<RedisFlavour>;

export type Environment = Readonly<Record<string, string | undefined>>;

// SKIP LOCKED, stored generated columns and the portable SQL of this project are only run on these and up;
// BullMQ asks for Redis 6.2, from which every Valkey descends.
export const OLDEST: Readonly<Record<DatabaseFlavour | RedisFlavour, Version>> = {
  mysql: [8, 4, 0],
  mariadb: [10, 11, 0],
  redis: [6, 2, 0],
  valkey: [7, 2, 0],
};

const NAMES = { mysql: 'MySQL', mariadb: 'MariaDB', redis: 'Redis', valkey: 'Valkey' } as const;

export const nameOf = (flavour: DatabaseFlavour | RedisFlavour): string => NAMES[flavour];
export const formatVersion = (version: Version): string => version.join('.');

/** Negative, zero or positive, like a comparator of Array.sort. */
export const compareVersions = (a: Version, b: Version): number => a[0] - b[0] || a[1] - b[1] || a[2] - b[2];

type Sought<Flavour extends string> = {
  readonly what: string;
  readonly variables: readonly string[];
  readonly programs: readonly { readonly file: string; readonly argv0: string }[];
  readonly identify: (versionOutput: string) => { flavour: Flavour; version: Version } | undefined;
};

const DATABASE: Sought<DatabaseFlavour> = {
  what: 'database server (mysqld or mariadbd)',
  variables: ['TEST_MYSQLD', 'MYSQLD'],
  programs: [
    { file: 'mysqld', argv0: 'mysqld' },
    { file: 'mariadbd', argv0: 'mariadbd' },
  ],
  identify: identifyDatabase,
};

const REDIS: Sought<RedisFlavour> = {
  what: 'redis-server or valkey-server',
  variables: ['REDIS_SERVER'],
  programs: [
    { file: 'redis-server', argv0: 'redis-server' },
    { file: 'valkey-server', argv0: 'valkey-server' },
    // The checkers are the server itself under another name; Debian's redis-tools ships only these, and with them no
    // system service that would start on its own.
    { file: 'redis-check-rdb', argv0: 'redis-server' },
    { file: 'valkey-check-rdb', argv0: 'valkey-server' },
  ],
  identify: identifyRedis,
};

/** Reads `mysqld --version`; MariaDB says so in its version, everything else that is called mysqld speaks MySQL. */
export function identifyDatabase(output: string): { flavour: DatabaseFlavour; version: Version } | undefined {
  const version = readVersion(/\bVer (\d+)\.(\d+)\.(\d+)/.exec(output));
  if (version === undefined) return undefined;
  return { flavour: /mariadb/i.test(output) ? 'mariadb' : 'mysql', version };
}

/** Reads `redis-server --version`: "Redis server v=7.0.15 …" or "Valkey server v=8.1.1 …". */
export function identifyRedis(output: string): { flavour: RedisFlavour; version: Version } | undefined {
  const match = /\b(Redis|Valkey|Server) (?:server )?v=(\d+)\.(\d+)\.(\d+)/i.exec(output);
  const version = readVersion(match === null ? null : [match[0], match[2], match[3], match[4]]);
  if (version === undefined) return undefined;
  return { flavour: /valkey/i.test(output) ? 'valkey' : 'redis', version };
}

function readVersion(match: readonly (string | undefined)[] | null): Version | undefined {
  if (match === null) return undefined;
  const [, major, minor, patch] = match.map(Number);
  return major === undefined || minor === undefined || patch === undefined ? undefined : [major, minor, patch];
}

/**
 * Finds the database server: `TEST_MYSQLD` or `MYSQLD` names one and wins; then PATH and the usual folders.
 * Undefined where there is none. Throws StackError: `binary-unusable` when the named one does not run,
 * `binary-too-old` when only too old ones are there.
 */
export const findDatabaseBinary = (env: Environment): Promise<DatabaseBinary | undefined> => find(DATABASE, env);

/** Finds redis-server or valkey-server: `REDIS_SERVER` wins; otherwise as findDatabaseBinary. */
export const findRedisBinary = (env: Environment): Promise<RedisBinary | undefined> => find(REDIS, env);

async function find<F extends DatabaseFlavour | RedisFlavour>(
  sought: Sought<F>,
  env: Environment,
): Promise<ServerBinary<F> | undefined> {
  for (const variable of sought.variables) {
    const path = env[variable];
    if (path !== undefined && path !== '') return await takeNamed(sought, variable, resolve(path));
  }
  const tooOld: ServerBinary<F>[] = [];
  for (const program of sought.programs) {
    for (const folder of searchFolders(env)) {
      const binary = await probe(sought, join(folder, program.file), program.argv0);
      if (typeof binary === 'string') continue;
      if (compareVersions(binary.version, OLDEST[binary.flavour]) >= 0) return binary;
      tooOld.push(binary);
    }
  }
  const [first] = tooOld;
  if (first !== undefined) throw tooOldError(first);
  return undefined;
}

async function takeNamed<F extends DatabaseFlavour | RedisFlavour>(
  sought: Sought<F>,
  variable: string,
  path: string,
): Promise<ServerBinary<F>> {
  const file = path.slice(path.lastIndexOf('/') + 1);
  const argv0 = sought.programs.find((program) => program.file === file)?.argv0 ?? path;
  const binary = await probe(sought, path, argv0);
  if (typeof binary === 'string') {
    throw new StackError('binary-unusable', `${variable}=${path} is not a ${sought.what} that runs here: ${binary}`);
  }
  if (compareVersions(binary.version, OLDEST[binary.flavour]) < 0) throw tooOldError(binary);
  return binary;
}

function tooOldError(binary: ServerBinary<DatabaseFlavour | RedisFlavour>): StackError {
  const { path, flavour, version } = binary;
  const isDatabase = flavour === 'mysql' || flavour === 'mariadb';
  const wanted = isDatabase
    ? `MySQL ${formatVersion(OLDEST.mysql)} or MariaDB ${formatVersion(OLDEST.mariadb)}`
    : `Redis ${formatVersion(OLDEST.redis)} or Valkey ${formatVersion(OLDEST.valkey)}`;
  const [variable, url] = isDatabase ? ['MYSQLD', 'DATABASE_URL'] : ['REDIS_SERVER', 'REDIS_URL'];
  return new StackError(
    'binary-too-old',
    `${path} is ${nameOf(flavour)} ${formatVersion(version)}; Espalier needs at least ${wanted}. ` +
      `Upgrade it, name a newer program in ${variable}, or point ${url} at a running server.`,
  );
}

function searchFolders(env: Environment): readonly string[] {
  const fromPath = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const system = ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin'];
  // Homebrew keeps versioned formulas out of its bin folder.
  const brewed = [env.HOMEBREW_PREFIX ?? '/opt/homebrew', '/usr/local', '/home/linuxbrew/.linuxbrew'].flatMap(
    (prefix) => [
      join(prefix, 'bin'),
      ...['mariadb', 'mysql', 'mysql@8.4', 'redis', 'valkey'].map((formula) => join(prefix, 'opt', formula, 'bin')),
    ],
  );
  return [...new Set([...fromPath, ...system, ...brewed])];
}

/** The binary, or why it is none. */
async function probe<F extends string>(
  sought: Sought<F>,
  path: string,
  argv0: string,
): Promise<ServerBinary<F> | string> {
  try {
    await access(path, constants.X_OK);
    const { stdout, stderr } = await runProgram(path, ['--version'], { argv0, timeoutMs: 20_000 });
    const identity = sought.identify(stdout);
    if (identity !== undefined) return { path, argv0, ...identity };
    return `\`--version\` answers ${JSON.stringify(`${stdout}${stderr}`.trim().slice(0, 200))}`;
  } catch (error) {
    return messageOf(error);
  }
}
