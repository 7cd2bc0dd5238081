import { join } from 'node:path';
import type { ServerPlace } from './database-server.ts';
import { startDatabaseServer } from './database-server.ts';
import type { DatabaseFlavour, Environment } from './find-binaries.ts';
import type { FreeBytes } from './free-space.ts';
import { freeBytesOf } from './free-space.ts';
import { ensureBinaries } from './install-binaries.ts';
import type { FolderLock } from './lock-data-folder.ts';
import { lockDataFolder, makePrivateFolder, openDataFolder } from './lock-data-folder.ts';
import type { Log } from './log.ts';
import { startRedisServer } from './redis-server.ts';
import type { KeptProcess } from './running-process.ts';
import { removeSocketFolder, socketFolder } from './socket-folder.ts';

export type StackOptions = {
  readonly dataDir: string;
  /** A database that runs elsewhere: then none is started. */
  readonly databaseUrl?: string | undefined;
  /** A Redis that runs elsewhere: then none is started. */
  readonly redisUrl?: string | undefined;
  /** A test's stack: small, without restarts, killed rather than stopped. */
  readonly throwAway?: boolean;
  /** MYSQLD, REDIS_SERVER, PATH, … see find-binaries.ts and install-binaries.ts. */
  readonly env: Environment;
  readonly log: Log;
  readonly freeBytes?: FreeBytes;
  /** Aborted to give up starting: startStack then rejects with its reason. */
  readonly stopped?: AbortSignal;
  /** When the caller holds the folder's lock already; otherwise the stack takes and releases it. */
  readonly lock?: FolderLock;
};

export type Stack = {
  /** `mysql://root@localhost/espalier?socketPath=<encoded path>`, or what was given. */
  readonly databaseUrl: string;
  /** `unix:///path/redis.sock`, or what was given. */
  readonly redisUrl: string;
  /** Undefined for a database that runs elsewhere. */
  readonly databaseFlavour: DatabaseFlavour | undefined;
  /** The servers that this stack started, for tests that kill them. */
  readonly database: KeptProcess | undefined;
  readonly redis: KeptProcess | undefined;
  /** Redis first, then the database; quickly (SIGKILL) once `hurry` is aborted. */
  stop(hurry?: AbortSignal): Promise<void>;
};

/**
 * Starts a private database and Redis with their data, logs and sockets below `dataDir`, installing the programs
 * where needed. Throws StackError with a message for a person; whatever was started by then is stopped again.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const dataDir = openDataFolder(options.dataDir);
  const needed = { database: options.databaseUrl === undefined, redis: options.redisUrl === undefined };
  const binaries = await ensureBinaries(needed, options.env, options.log);
  const stoppers: ((hurry?: AbortSignal) => unknown)[] = [];
  const stop = async (hurry?: AbortSignal): Promise<void> => {
    for (const stopOne of stoppers.splice(0).reverse()) await stopOne(hurry);
  };
  const keep = (started: { readonly process: KeptProcess }): void => {
    stoppers.push((hurry) => started.process.stop(hurry));
  };
  try {
    if (options.lock === undefined) {
      const lock = lockDataFolder(dataDir);
      stoppers.push(() => lock.release());
    }
    const place = preparePlace(dataDir, options);
    stoppers.push(() => removeSocketFolder(dataDir, place.sockets));
    const database = binaries.database && (await startDatabaseServer(binaries.database, place));
    if (database !== undefined) keep(database);
    const redis = binaries.redis && (await startRedisServer(binaries.redis, place));
    if (redis !== undefined) keep(redis);
    return {
      databaseUrl: database?.url ?? options.databaseUrl ?? '',
      redisUrl: redis?.url ?? options.redisUrl ?? '',
      databaseFlavour: binaries.database?.flavour,
      database: database?.process,
      redis: redis?.process,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function preparePlace(dataDir: string, options: StackOptions): ServerPlace {
  makePrivateFolder(join(dataDir, 'run'));
  return {
    dataDir,
    sockets: socketFolder(dataDir),
    isThrowAway: options.throwAway === true,
    freeBytes: options.freeBytes ?? freeBytesOf,
    log: options.log,
    stopped: options.stopped,
  };
}
