import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { diskFull } from './free-space.ts';
import { makePrivateFolder } from './lock-data-folder.ts';
import { writePidFile } from './pid-file.ts';
import type { RunningProcess } from './running-process.ts';
import { describeExit, runningProcess, spawnProcess, UNREADY_STOP_MS } from './running-process.ts';
import { messageOf, StackError } from './stack-error.ts';

export type ServerLaunch = {
  /** For messages: "MariaDB 10.11.19". */
  readonly name: string;
  readonly path: string;
  readonly argv0: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Where it keeps what it needs only while it runs; emptied at each start. */
  readonly temporary?: string;
  readonly socket: string;
  readonly pidFile: string;
  readonly logFile: string;
  /** Tries to talk to it; rejects while it is not ready. */
  readonly greet: () => Promise<void>;
  readonly readyWithinMs: number;
  readonly stopWithinMs: number;
  readonly isDetached: boolean;
  /** Aborted to give up waiting for it. */
  readonly stopping: AbortSignal;
};

const POLL_MS = 25;
const GREETING_WITHIN_MS = 10_000;
const LARGEST_LOG_BYTES = 16 * 1024 * 1024;
const TAIL_LINES = 15;

/**
 * Starts a database or Redis server on its Unix socket and resolves once it answers. Throws StackError
 * `server-failed` with the last lines of its log when it ends first or does not answer in time, `disk-full` when
 * that is what its log says.
 */
export async function launchServer(launch: ServerLaunch): Promise<RunningProcess> {
  rmSync(launch.socket, { force: true });
  const log = openLog(launch.logFile);
  const child = await spawnProcess(launch.path, launch.args, {
    argv0: launch.argv0,
    cwd: launch.cwd,
    ...(launch.temporary !== undefined && { env: { ...process.env, TMPDIR: emptyFolder(launch.temporary) } }),
    output: log.descriptor,
    hasChannel: false,
    isDetached: launch.isDetached,
  })
    .catch((error: unknown) => {
      throw new StackError('server-failed', `${launch.path} cannot be started: ${messageOf(error)}`, { cause: error });
    })
    .finally(() => closeSync(log.descriptor));
  const running = runningProcess(child, launch.stopWithinMs);
  writePidFile(launch.pidFile, running.pid);
  void running.exited.then(() => rmSync(launch.pidFile, { force: true }));
  await waitUntilReady(launch, running, log.startsAt);
  return running;
}

function emptyFolder(path: string): string {
  rmSync(path, { recursive: true, force: true });
  makePrivateFolder(path);
  return path;
}

function openLog(path: string): { readonly descriptor: number; readonly startsAt: number } {
  makePrivateFolder(dirname(path));
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LARGEST_LOG_BYTES) renameSync(path, `${path}.1`);
  return { descriptor: openSync(path, 'a', 0o600), startsAt: size > LARGEST_LOG_BYTES ? 0 : size };
}

async function waitUntilReady(launch: ServerLaunch, running: RunningProcess, logStartsAt: number): Promise<void> {
  const deadline = performance.now() + launch.readyWithinMs;
  const ended = running.exited.then((exit) => `ended with ${describeExit(exit)} before it was ready`);
  let lastProblem = 'it was not asked';
  while (performance.now() < deadline && !launch.stopping.aborted) {
    const late = sleep(GREETING_WITHIN_MS, 'it accepts connections and says nothing', { ref: false });
    const outcome = await Promise.race([ended, late, launch.greet().then((): true => true, messageOf)]);
    if (outcome === true) return;
    const hasEnded = await Promise.race([ended.then(() => true), sleep(POLL_MS, false)]);
    if (hasEnded) throw failure(launch, await ended, logStartsAt);
    lastProblem = outcome;
  }
  await running.stop(AbortSignal.timeout(UNREADY_STOP_MS));
  launch.stopping.throwIfAborted();
  throw failure(launch, `did not answer within ${launch.readyWithinMs / 1000} s (${lastProblem})`, logStartsAt);
}

function failure(launch: ServerLaunch, what: string, logStartsAt: number): StackError {
  const tail = readFileSync(launch.logFile)
    .subarray(logStartsAt)
    .toString('utf8')
    .trimEnd()
    .split('\n')
    .slice(-TAIL_LINES);
  if (tail.some((line) => /no space left on device|errno: ?28\b/i.test(line))) {
    return diskFull(launch.cwd, `${launch.name} says "No space left on device"`);
  }
  return new StackError(
    'server-failed',
    [`${launch.name} ${what}. The end of ${launch.logFile}:`, ...tail.map((line) => `  ${line}`), ...hints(tail)].join(
      '\n',
    ),
  );
}

function hints(tail: readonly string[]): readonly string[] {
  const isDenied = tail.some((line) => /permission denied|errno: ?13\b/i.test(line));
  if (!isDenied || process.platform !== 'linux') return [];
  return [
    "When this user may write there, AppArmor may be what forbids it: Ubuntu's profile for mysqld only allows",
    '/var/lib/mysql. Use mariadb-server-core instead, or disable that profile (aa-disable /usr/sbin/mysqld).',
  ];
}
