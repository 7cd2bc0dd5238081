import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { DatabaseBinary, Environment, RedisBinary, Version } from './find-binaries.ts';
import { compareVersions, findDatabaseBinary, findRedisBinary, OLDEST } from './find-binaries.ts';
import type { Log } from './log.ts';
import { runProgram } from './run-program.ts';
import { StackError } from './stack-error.ts';

/** What the embedded stack needs; a part is not sought when a URL stands in for it. */
export type Needed = { readonly database: boolean; readonly redis: boolean };
export type Binaries = { readonly database?: DatabaseBinary; readonly redis?: RedisBinary };

/** What decides how, and whether, programs can be installed here. */
export type Machine = {
  readonly installer: 'apt' | 'brew' | undefined;
  /** Whether this user may install without being asked for a password. */
  readonly mayInstall: boolean;
  readonly isRoot: boolean;
};

export type Step = { readonly command: string; readonly args: readonly string[] };

// Packages that hold the programs and start no service, best first. Debian's redis-server package would start one;
// the program itself is in redis-tools (see find-binaries.ts).
const APT = {
  database: [
    // mariadb-install-db calls my_print_defaults, which Debian keeps among the client's programs.
    { name: 'mariadb-server-core', oldest: OLDEST.mariadb, with: ['mariadb-client-core'] },
    { name: 'mysql-server-core-8.4', oldest: OLDEST.mysql, with: [] },
    { name: 'mysql-server-core', oldest: OLDEST.mysql, with: [] },
  ],
  redis: [
    { name: 'redis-tools', oldest: OLDEST.redis, with: [] },
    { name: 'valkey-tools', oldest: OLDEST.valkey, with: [] },
  ],
} as const;
const BREW = { database: 'mariadb', redis: 'redis' } as const;

type Part = 'database' | 'redis';

/**
 * Finds the programs that are needed, and installs what is missing where that is possible without a password:
 * apt-get as root or with passwordless sudo, or Homebrew. Says what it does before doing it. Set
 * `INSTALL_BINARIES=no` to only be told. Throws StackError with the commands to type otherwise.
 */
export async function ensureBinaries(needed: Needed, env: Environment, log: Log): Promise<Binaries> {
  const found = await findBinaries(needed, env);
  const missing = missingParts(needed, found);
  if (missing.length === 0) return found;
  const machine = await inspectMachine(env);
  const why = `Espalier runs on a private database and Redis, and finds no ${missing.map(describe).join(' and no ')}.`;
  if (machine.installer === undefined || !machine.mayInstall || env.INSTALL_BINARIES === 'no') {
    throw new StackError('binary-missing', `${why}\n${adviceFor(machine, missing)}`);
  }
  log(why);
  await install(machine, missing, log);
  const now = await findBinaries(needed, env);
  const still = missingParts(needed, now);
  if (still.length === 0) return now;
  throw new StackError(
    'install-failed',
    `The packages are installed, but there is still no ${still.map(describe).join(' and no ')} to be found. ` +
      'Name the programs in MYSQLD and REDIS_SERVER.',
  );
}

async function findBinaries(needed: Needed, env: Environment): Promise<Binaries> {
  const database = needed.database ? await findDatabaseBinary(env) : undefined;
  const redis = needed.redis ? await findRedisBinary(env) : undefined;
  return { ...(database === undefined ? {} : { database }), ...(redis === undefined ? {} : { redis }) };
}

const missingParts = (needed: Needed, found: Binaries): readonly Part[] =>
  (['database', 'redis'] as const).filter((part) => needed[part] && found[part] === undefined);

const describe = (part: Part): string =>
  part === 'database' ? 'database server (mysqld or mariadbd)' : 'redis-server or valkey-server';

async function inspectMachine(env: Environment): Promise<Machine> {
  const isRoot = process.getuid?.() === 0;
  if ((await onPath('apt-get', env)) && process.platform === 'linux') {
    return { installer: 'apt', isRoot, mayInstall: isRoot || (await hasPasswordlessSudo(env)) };
  }
  // Homebrew refuses to run as root.
  if (await onPath('brew', env)) return { installer: 'brew', isRoot, mayInstall: !isRoot };
  return { installer: undefined, isRoot, mayInstall: false };
}

async function onPath(program: string, env: Environment): Promise<boolean> {
  for (const folder of (env.PATH ?? '').split(delimiter)) {
    const isThere = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== '' && isThere) return true;
  }
  return false;
}

async function hasPasswordlessSudo(env: Environment): Promise<boolean> {
  if (!(await onPath('sudo', env))) return false;
  return (await runProgram('sudo', ['-n', 'true'], { timeoutMs: 10_000 })).code === 0;
}

async function install(machine: Machine, missing: readonly Part[], log: Log): Promise<void> {
  if (machine.installer === 'brew') {
    await runStep({ command: 'brew', args: ['install', ...missing.map((part) => BREW[part])] }, log);
    return;
  }
  const prefix = machine.isRoot ? [] : ['sudo', '-n'];
  try {
    await runStep(aptStep(prefix, ['update', '-qq']), log);
  } catch (error) {
    // A mirror that is away must not matter when the lists at hand are good enough.
    if (!(error instanceof StackError)) throw error;
    log(`${error.message} Going on with the package lists that are there.`);
  }
  const packages: string[] = [];
  for (const part of missing) packages.push(...(await choosePackages(part)));
  await runStep(aptStep(prefix, installArgs(packages)), log);
}

// --no-remove: a MySQL of the machine's own must never be pushed out by the MariaDB that we would like to have.
const installArgs = (packages: readonly string[]): readonly string[] => [
  'install',
  '--yes',
  '--no-remove',
  '--no-install-recommends',
  ...packages,
];

function aptStep(prefix: readonly string[], args: readonly string[]): Step {
  const line = [
    ...prefix,
    'env',
    'DEBIAN_FRONTEND=noninteractive',
    'apt-get',
    '-o',
    'DPkg::Lock::Timeout=300', // another installation may be under way
    ...args,
  ];
  const [command = 'env', ...rest] = line;
  return { command, args: rest };
}

async function runStep(step: Step, log: Log): Promise<void> {
  const line = [step.command, ...step.args].join(' ');
  log(`Running: ${line}`);
  const { code, stdout, stderr } = await runProgram(step.command, step.args, { timeoutMs: 15 * 60_000 });
  if (code === 0) return;
  const tail = `${stdout}\n${stderr}`.trim().split('\n').slice(-12).join('\n');
  throw new StackError(
    'install-failed',
    `\`${line}\` failed${code === null ? '' : ` with status ${code}`}:\n${tail}\n`,
  );
}

async function choosePackages(part: Part): Promise<readonly string[]> {
  const seen: string[] = [];
  for (const { name, oldest, with: others } of APT[part]) {
    const { stdout } = await runProgram('apt-cache', ['policy', name], { timeoutMs: 60_000 });
    const candidate = readCandidate(stdout);
    if (candidate === undefined) continue;
    if (compareVersions(candidate, oldest) >= 0) return [name, ...others];
    seen.push(`${name} ${candidate.join('.')}`);
  }
  const offer = seen.length === 0 ? 'nothing of the kind' : `only ${seen.join(' and ')}, which is too old`;
  throw new StackError(
    'install-failed',
    `This system's package sources offer ${offer}. Install a newer ${describe(part)} from its makers, ` +
      `or set ${part === 'database' ? 'DATABASE_URL' : 'REDIS_URL'}.`,
  );
}

/** The upstream version in `apt-cache policy`'s "Candidate: 1:10.11.19-0+deb12u1"; undefined where there is none. */
export function readCandidate(policy: string): Version | undefined {
  const match = /^\s*Candidate:\s*(?:\d+:)?(\d+)\.(\d+)(?:\.(\d+))?/m.exec(policy);
  return match === null ? undefined : [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

/** What to type, for a machine on which we may not or cannot install. */
export function adviceFor(machine: Machine, missing: readonly Part[]): string {
  const urls = 'Or point DATABASE_URL and REDIS_URL at running servers; then nothing is started here.';
  const brew = missing.map((part) => BREW[part]).join(' ');
  const apt = missing.flatMap((part) => [APT[part][0].name, ...APT[part][0].with]).join(' ');
  if (machine.installer === 'apt') {
    const sudo = machine.isRoot ? '' : 'sudo ';
    return `Install with:\n  ${sudo}apt-get update\n  ${sudo}apt-get install --no-install-recommends ${apt}\n${urls}`;
  }
  if (machine.installer === 'brew') return `Install with:\n  brew install ${brew}\n${urls}`;
  return [
    `Install MariaDB 10.11+ or MySQL 8.4+, and Redis 6.2+ or Valkey, with this system's package manager, for example:`,
    `  Debian, Ubuntu   apt-get install --no-install-recommends ${apt}`,
    `  Fedora           dnf install ${missing.map((part) => (part === 'database' ? 'mariadb-server' : 'valkey')).join(' ')}`,
    `  macOS            brew install ${brew}`,
    'or name the programs in MYSQLD and REDIS_SERVER.',
    urls,
  ].join('\n');
}
