import { access, constants, mkdir, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DatabaseBinary, DatabaseFlavour, Version } from './find-binaries.ts';
import { formatVersion, nameOf } from './find-binaries.ts';
import { diskFull } from './free-space.ts';
import type { Log } from './log.ts';
import { runProgram } from './run-program.ts';
import { StackError } from './stack-error.ts';

type Maker = { readonly flavour: DatabaseFlavour; readonly version: Version };

// Inside the folder, so that the folder and the note of who made it come into being with one rename.
const MAKER_FILE = 'made-by.json';

/**
 * Makes sure that `folder` is a data folder which this server can open: makes it when it is not there, refuses it
 * (StackError `folder-of-other-server`) when another flavour or a newer version made it.
 */
export async function prepareDatabaseFolder(
  binary: DatabaseBinary,
  folder: string,
  settings: readonly string[],
  log: Log,
): Promise<void> {
  await removeUnfinished(folder);
  const maker = await readMaker(folder);
  if (maker === 'nothing-there') return await makeFolder(binary, folder, settings, log);
  if (maker === undefined) throw foreign(folder, 'holds something that Espalier did not make');
  if (maker.flavour !== binary.flavour) {
    const madeBy = `${nameOf(maker.flavour)} ${formatVersion(maker.version)}`;
    throw foreign(folder, `was made by ${madeBy} and ${binary.path} is ${nameOf(binary.flavour)}`);
  }
  if (compareSeries(binary.version, maker.version) < 0) {
    const [made, found] = [formatVersion(maker.version), formatVersion(binary.version)];
    throw foreign(folder, `was written by ${nameOf(maker.flavour)} ${made} and ${binary.path} is only ${found}`);
  }
}

/** To be called once the server runs on the folder: from then on an older series cannot open it any more. */
export async function noteMaker(binary: DatabaseBinary, folder: string): Promise<void> {
  const path = join(folder, MAKER_FILE);
  const { flavour, version } = binary;
  await writeFile(`${path}.new`, `${JSON.stringify({ flavour, version } satisfies Maker)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

// Patch releases of one series read each other's folders in both directions (MySQL: since 8.4; MariaDB: always).
const compareSeries = (a: Version, b: Version): number => a[0] - b[0] || a[1] - b[1];

const foreign = (folder: string, why: string): StackError =>
  new StackError(
    'folder-of-other-server',
    `The database folder ${folder} ${why}. Run the server that made it (name its program in MYSQLD), dump and load ` +
      `the data (mysqldump), or move ${folder} away to start with an empty database.`,
  );

async function readMaker(folder: string): Promise<Maker | undefined | 'nothing-there'> {
  try {
    await access(folder);
  } catch {
    return 'nothing-there';
  }
  try {
    const value: unknown = JSON.parse(await readFile(join(folder, MAKER_FILE), 'utf8'));
    if (typeof value !== 'object' || value === null || !('flavour' in value) || !('version' in value)) return undefined;
    const { flavour, version } = value;
    if (flavour !== 'mysql' && flavour !== 'mariadb') return undefined;
    if (!Array.isArray(version)) return undefined;
    const [major, minor, patch] = version.map(Number);
    if (major === undefined || minor === undefined || patch === undefined) return undefined;
    return { flavour, version: [major, minor, patch] };
  } catch {
    return undefined;
  }
}

async function removeUnfinished(folder: string): Promise<void> {
  const parent = dirname(folder);
  for (const name of await readdir(parent)) {
    if (name.startsWith(`${basename(folder)}.new-`)) await rm(join(parent, name), { recursive: true });
  }
}

/** Made beside its place and renamed at the end: a kill in between leaves nothing that looks like a database. */
async function makeFolder(
  binary: DatabaseBinary,
  folder: string,
  settings: readonly string[],
  log: Log,
): Promise<void> {
  log(`Making a new ${nameOf(binary.flavour)} ${formatVersion(binary.version)} database in ${folder}.`);
  const unfinished = `${folder}.new-${process.pid}`;
  await mkdir(unfinished, { mode: 0o700 });
  const { path, args, argv0 } = await initialiser(binary, unfinished, settings);
  const temporary = `${unfinished}.tmp`;
  await mkdir(temporary, { mode: 0o700 });
  // Of its own: MariaDB clears the folder of temporary tables when it starts, also of another server's.
  const env = { ...process.env, TMPDIR: temporary };
  const { code, stdout, stderr } = await runProgram(path, args, { argv0, cwd: unfinished, env, timeoutMs: 180_000 });
  await rm(temporary, { recursive: true, force: true });
  if (code !== 0) {
    const output = `${stdout}\n${stderr}`;
    await rm(unfinished, { recursive: true, force: true });
    if (/no space left on device|errno: ?28\b/i.test(output)) throw diskFull(folder, 'making the database failed');
    const tail = output.trim().split('\n').slice(-15).join('\n  ');
    throw new StackError('server-failed', `${path} could not make a database in ${folder}:\n  ${tail}`);
  }
  await noteMaker(binary, unfinished);
  await rename(unfinished, folder);
}

type Initialiser = {
  readonly path: string;
  readonly argv0: string;
  readonly args: readonly string[];
};

async function initialiser(binary: DatabaseBinary, folder: string, settings: readonly string[]): Promise<Initialiser> {
  if (binary.flavour === 'mysql') {
    const args = ['--no-defaults', '--initialize-insecure', `--datadir=${folder}`, ...settings];
    return { path: binary.path, argv0: binary.argv0, args };
  }
  const script = await findInstallScript(binary.path);
  const args = [
    '--no-defaults',
    ...(script.baseFolder === undefined ? [] : [`--basedir=${script.baseFolder}`]),
    '--datadir=.', // where it is run: the script does not quote, and a path may have spaces
    '--auth-root-authentication-method=normal', // root without a password, on a socket that only this user can reach
    '--skip-test-db',
    '--skip-name-resolve',
    ...settings,
  ];
  return { path: script.path, argv0: script.path, args };
}

/** MariaDB has no --initialize: its SQL files are fed to the server by a script that lies beside it. */
async function findInstallScript(
  server: string,
): Promise<{ readonly path: string; readonly baseFolder: string | undefined }> {
  const prefixes = new Set([dirname(dirname(server)), dirname(dirname(await realpath(server)))]);
  for (const prefix of prefixes) {
    for (const folder of ['bin', 'scripts', 'sbin']) {
      for (const name of ['mariadb-install-db', 'mysql_install_db']) {
        const path = join(prefix, folder, name);
        if (await isExecutable(path)) return { path, baseFolder: prefix };
      }
    }
  }
  throw new StackError(
    'binary-missing',
    `${server} is MariaDB, but mariadb-install-db, which makes its database, is neither in ` +
      `${[...prefixes].map((prefix) => join(prefix, 'bin')).join(' nor in ')}. Install the rest of the package.`,
  );
}

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
