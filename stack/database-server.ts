import { userInfo } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { noteMaker, prepareDatabaseFolder } from './database-folder.ts';
import type { DatabaseBinary } from './find-binaries.ts';
import { formatVersion, nameOf } from './find-binaries.ts';
import type { FreeBytes } from './free-space.ts';
import { checkFreeSpace } from './free-space.ts';
import { launchServer } from './launch-server.ts';
import type { Log } from './log.ts';
import { stopOrphan } from './pid-file.ts';
import type { KeptProcess } from './running-process.ts';
import { keepRunning } from './running-process.ts';

export type ServerPlace = {
  /** Absolute. */
  readonly dataDir: string;
  /** Where the Unix socket goes, see socketFolder(). */
  readonly sockets: string;
  /** A test's server: small, killed instead of stopped, not restarted. */
  readonly isThrowAway: boolean;
  readonly freeBytes: FreeBytes;
  readonly log: Log;
  /** Aborted to give up starting. */
  readonly stopped: AbortSignal | undefined;
};

export type DatabaseServer = { readonly url: string; readonly process: KeptProcess };

const DATABASE = 'espalier';

/**
 * Starts a private database server on `<dataDir>/mysql`, on a Unix socket only, and makes the database `espalier`.
 * Stops a server that an earlier run left on that folder. The caller holds the folder's lock.
 */
export async function startDatabaseServer(binary: DatabaseBinary, place: ServerPlace): Promise<DatabaseServer> {
  const { dataDir, isThrowAway, log } = place;
  const folder = join(dataDir, 'mysql');
  const socket = join(place.sockets, 'mysql.sock');
  const name = `${nameOf(binary.flavour)} ${formatVersion(binary.version)}`;
  const pidFile = join(dataDir, 'run', 'mysql.pid');
  await stopOrphan(
    { name: 'a database server', pidFile, markedBy: [`--datadir=${folder}`], stopWithinMs: 60_000 },
    log,
  );
  await checkFreeSpace(dataDir, place.freeBytes);
  await prepareDatabaseFolder(binary, folder, settingsForInitialising(binary, isThrowAway), log);
  const process = await keepRunning({
    name,
    log,
    isRestarted: !isThrowAway,
    stopped: place.stopped,
    launch: (stopping) =>
      launchServer({
        name,
        path: binary.path,
        argv0: binary.argv0,
        args: ['--no-defaults', `--datadir=${folder}`, `--socket=${socket}`, ...settings(binary, isThrowAway)],
        cwd: dataDir,
        // Of its own: MariaDB clears the folder of temporary tables when it starts, also of another server's.
        temporary: join(dataDir, 'tmp'),
        socket,
        pidFile,
        logFile: join(dataDir, 'logs', 'mysql.log'),
        greet: () => greet(socket),
        readyWithinMs: 300_000, // recovery after a crash reads the whole redo log
        stopWithinMs: isThrowAway ? 0 : 60_000,
        isDetached: !isThrowAway,
        stopping,
      }),
  });
  await noteMaker(binary, folder);
  return { url: `mysql://root@localhost/${DATABASE}?socketPath=${encodeURIComponent(socket)}`, process };
}

/** Connects and makes our database; rejects while the server is not ready. */
async function greet(socketPath: string): Promise<void> {
  const connection = await mysql.createConnection({ socketPath, user: 'root', connectTimeout: 5_000 });
  try {
    await connection.query(
      `CREATE DATABASE IF NOT EXISTS ${DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci`,
    );
    await connection.end();
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

function settings(binary: DatabaseBinary, isThrowAway: boolean): readonly string[] {
  return [
    ...settingsForInitialising(binary, isThrowAway),
    '--skip-networking',
    '--skip-name-resolve',
    '--local-infile=OFF',
    '--pid-file=server.pid', // in the data folder; ours is another one, with more in it
    '--skip-log-bin', // one server: nobody reads it, and it doubles the writes of each commit
    '--innodb-flush-log-at-trx-commit=1',
    '--transaction-isolation=READ-COMMITTED',
    '--default-time-zone=+00:00',
    '--collation-server=utf8mb4_unicode_520_ci', // known to both flavours, unlike either one's default
    '--max-connections=300',
    '--max-allowed-packet=64M',
    `--innodb-buffer-pool-size=${isThrowAway ? '256M' : '512M'}`,
    ...performanceSchema(binary, isThrowAway),
  ];
}

/** What is also needed while the folder is being made. */
function settingsForInitialising(binary: DatabaseBinary, isThrowAway: boolean): readonly string[] {
  const redo = isThrowAway ? '64M' : '256M';
  return [
    '--character-set-server=utf8mb4',
    ...(process.getuid?.() === 0 ? [`--user=${userInfo().username}`] : []), // refused otherwise
    ...(binary.flavour === 'mariadb'
      ? [`--innodb-log-file-size=${redo}`]
      : [
          `--innodb-redo-log-capacity=${redo}`,
          '--mysqlx=OFF', // its own socket lies at a fixed place in /tmp
          '--secure-file-priv=NULL', // the packages' default is a folder that need not exist
        ]),
  ];
}

// It costs memory and a few percent of every statement. MySQL's sys schema and lock views live in it, so a server that
// somebody may have to look into keeps it, with small tables.
function performanceSchema(binary: DatabaseBinary, isThrowAway: boolean): readonly string[] {
  if (binary.flavour === 'mariadb' || isThrowAway) return ['--performance-schema=OFF'];
  return [
    '--performance-schema=ON',
    '--performance-schema-digests-size=500',
    '--performance-schema-max-table-instances=500',
    '--performance-schema-max-digest-length=512',
  ];
}
