import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { ServerPlace } from './database-server.ts';
import type { RedisBinary } from './find-binaries.ts';
import { formatVersion, nameOf } from './find-binaries.ts';
import { launchServer } from './launch-server.ts';
import { stopOrphan } from './pid-file.ts';
import type { KeptProcess, RunningProcess } from './running-process.ts';
import { keepRunning } from './running-process.ts';
import { messageOf, StackError } from './stack-error.ts';

export type RedisServer = { readonly url: string; readonly process: KeptProcess };

/**
 * Starts a private Redis or Valkey on `<dataDir>/redis`, on a Unix socket only. Stops one that an earlier run left
 * there. The caller holds the folder's lock.
 */
export async function startRedisServer(binary: RedisBinary, place: ServerPlace): Promise<RedisServer> {
  const { dataDir, isThrowAway, log } = place;
  const folder = join(dataDir, 'redis');
  const socket = join(place.sockets, 'redis.sock');
  const name = `${nameOf(binary.flavour)} ${formatVersion(binary.version)}`;
  const pidFile = join(dataDir, 'run', 'redis.pid');
  await stopOrphan({ name: 'a Redis server', pidFile, markedBy: ['--dir', folder], stopWithinMs: 15_000 }, log);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const launch = (stopping: AbortSignal): Promise<RunningProcess> =>
    launchServer({
      name,
      path: binary.path,
      argv0: binary.argv0,
      args: ['--dir', folder, '--unixsocket', socket, ...settings(isThrowAway)],
      cwd: dataDir,
      socket,
      pidFile,
      logFile: join(dataDir, 'logs', 'redis.log'),
      greet: () => greet(socket),
      readyWithinMs: 120_000,
      stopWithinMs: isThrowAway ? 0 : 15_000,
      isDetached: !isThrowAway,
      stopping,
    });
  const process = await keepRunning({
    name,
    log,
    isRestarted: !isThrowAway,
    stopped: place.stopped,
    launch: async (stopping) => {
      try {
        return await launch(stopping);
      } catch (error) {
        if (!(error instanceof StackError) || error.code !== 'server-failed' || !setAside(folder)) throw error;
        log(
          `${messageOf(error)}\nRedis holds nothing that MySQL does not: its files are set aside, and it starts empty.`,
        );
        return await launch(stopping);
      }
    },
  });
  return { url: `unix://${socket}`, process };
}

/** False when there was nothing to set aside, so the files were not the reason. */
function setAside(folder: string): boolean {
  if (!existsSync(folder) || readdirSync(folder).length === 0) return false;
  renameSync(folder, `${folder}.unreadable-${Date.now()}`);
  mkdirSync(folder, { mode: 0o700 });
  return true;
}

const settings = (isThrowAway: boolean): readonly string[] => [
  ...['--port', '0'],
  ...['--unixsocketperm', '700'],
  ...['--daemonize', 'no'],
  ...['--set-proc-title', 'no'], // the command line is how a later run recognises it
  ...['--save', ''],
  ...['--appendonly', isThrowAway ? 'no' : 'yes'],
  ...['--appendfsync', 'everysec'],
  ...['--maxmemory-policy', 'noeviction'], // BullMQ loses jobs under any other
];

/** Rejects while the server is not there or still loads its file. */
async function greet(path: string): Promise<void> {
  const redis = new Redis({
    path,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    await redis.ping();
  } finally {
    redis.disconnect();
  }
}
