import { join } from 'node:path';
import type { z } from 'zod';
import { writeEmbeddedEnvironment } from '../config/embedded-environment.ts';
import { ENVIRONMENT, EnvironmentError, readVariables } from '../config/env.ts';
import { checkPort } from './check-port.ts';
import type { Environment } from './find-binaries.ts';
import type { FreeBytes } from './free-space.ts';
import { diskFull } from './free-space.ts';
import type { GeneratedKey } from './generated-keys.ts';
import { apiKey, secretKey } from './generated-keys.ts';
import type { ReadyMessage } from './launch-child.ts';
import { launchChild } from './launch-child.ts';
import { lockDataFolder, openDataFolder } from './lock-data-folder.ts';
import type { Log } from './log.ts';
import { stopOrphan } from './pid-file.ts';
import type { KeptProcess } from './running-process.ts';
import { describeExit, keepRunning } from './running-process.ts';
import { StackError } from './stack-error.ts';
import { startStack } from './start-stack.ts';
import { welcome } from './welcome.ts';

/** The programs of Espalier, as absolute paths. */
export type Scripts = { readonly migrate: string; readonly server: string; readonly workers: string };

export type EspalierOptions = {
  /** The environment with the flags already in it. Empty variables count as unset. */
  readonly variables: Environment;
  readonly scripts: Scripts;
  readonly log: Log;
  /** Aborted to stop in order: server, workers, Redis, database. */
  readonly stopped: AbortSignal;
  /** Aborted to stop at once. Nothing that was committed is lost by that. */
  readonly hurried: AbortSignal;
  readonly freeBytes?: FreeBytes;
};

const READY_WITHIN_MS = 120_000;
const ORPHAN_STOP_WITHIN_MS = 30_000;
// On top of SHUTDOWN_SECONDS, within which a child stops by itself.
const STOP_GRACE_MS = 10_000;

/** Runs everything until `stopped` is aborted. Throws StackError when it cannot start; nothing is left running then. */
export async function runEspalier(options: EspalierOptions): Promise<void> {
  const { log, stopped } = options;
  const stoppers: (() => unknown)[] = [];
  try {
    await startAll(options, (stopOne) => stoppers.push(stopOne));
    await new Promise<void>((resolve) => {
      if (stopped.aborted) resolve();
      else stopped.addEventListener('abort', () => resolve(), { once: true });
    });
  } catch (error) {
    if (!stopped.aborted) throw isDiskFull(error) ? diskFull('the data folder', error.message) : error;
  } finally {
    if (stoppers.length > 1) log('Stopping.');
    for (const stopOne of stoppers.reverse()) await stopOne();
  }
}

const isDiskFull = (error: unknown): error is Error =>
  error instanceof Error && 'code' in error && error.code === 'ENOSPC';

/** What is handed over to be called, in reverse order, at the end, however far the start has come. */
type OnStop = (stopOne: () => unknown) => void;

async function startAll(options: EspalierOptions, onStop: OnStop): Promise<void> {
  const { log, stopped, hurried, scripts } = options;
  const given = Object.fromEntries(Object.entries(options.variables).filter(([, value]) => value !== ''));
  const dataDir = openDataFolder(given.DATA_DIR ?? '.espalier');
  const lock = lockDataFolder(dataDir);
  onStop(() => lock.release());
  for (const name of ['migrate', 'server', 'workers']) {
    const pidFile = join(dataDir, 'run', `${name}.pid`);
    await stopOrphan({ name: `the ${name} process`, pidFile, stopWithinMs: ORPHAN_STOP_WITHIN_MS }, log);
  }
  const keys = readKeys(given, dataDir);
  const { HOST, PORT, PUBLIC_URL, SHUTDOWN_SECONDS } = checkVariables(keys.variables);
  await checkPort(HOST, PORT);
  stopped.throwIfAborted();
  const { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl } = given;
  const stack = await startStack({ ...options, dataDir, databaseUrl, redisUrl, env: given, lock });
  onStop(() => stack.stop(hurried));
  const { SECRET_KEY = '' } = keys.variables;
  writeEmbeddedEnvironment(dataDir, { DATABASE_URL: stack.databaseUrl, REDIS_URL: stack.redisUrl, SECRET_KEY });

  const programs = programsOn(options, dataDir, SHUTDOWN_SECONDS * 1_000 + STOP_GRACE_MS, {
    ...keys.variables,
    DATABASE_URL: stack.databaseUrl,
    REDIS_URL: stack.redisUrl,
    DATA_DIR: dataDir,
    PORT: String(PORT),
  });
  await programs.migrate(scripts.migrate);
  const workers = await programs.keep('workers', scripts.workers);
  onStop(() => workers.stop(hurried));
  let port = PORT;
  const server = await programs.keep('server', scripts.server, (message) => {
    port = message.port ?? port;
  });
  onStop(() => server.stop(hurried));
  const baseUrl = PUBLIC_URL ?? `http://localhost:${port}`;
  for (const line of welcome({ baseUrl, apiKey: keys.api, dataDir })) log(line);
}

function readKeys(
  given: Environment,
  dataDir: string,
): { readonly variables: Environment; readonly api: GeneratedKey | undefined } {
  const api = given.API_KEY === undefined ? apiKey(dataDir) : undefined;
  const SECRET_KEY = given.SECRET_KEY ?? secretKey(dataDir).value;
  return { variables: { ...given, SECRET_KEY, ...(api === undefined ? {} : { API_KEY: api.value }) }, api };
}

/** Finds everything that is wrong with the variables before anything is started. */
function checkVariables(variables: Environment): z.output<typeof ENVIRONMENT> {
  const toCome = { DATABASE_URL: 'to be started', REDIS_URL: 'to be started' };
  try {
    return readVariables(ENVIRONMENT, [], { ...toCome, ...variables });
  } catch (error) {
    if (error instanceof EnvironmentError) throw new StackError('bad-flag', error.message);
    throw error;
  }
}

type Programs = {
  /** Runs the migrations to their end. Throws StackError `migration-failed`. */
  migrate(script: string): Promise<void>;
  /** Keeps a program running; resolves once it says that it is ready. */
  keep(name: string, script: string, onReady?: (message: ReadyMessage) => void): Promise<KeptProcess>;
};

function programsOn(options: EspalierOptions, dataDir: string, stopWithinMs: number, env: NodeJS.ProcessEnv): Programs {
  const { log, stopped } = options;
  const launchOf = (name: string, script: string) => ({
    name: `The ${name} process`,
    script,
    env,
    pidFile: join(dataDir, 'run', `${name}.pid`),
    stopWithinMs,
  });
  return {
    migrate: async (script) => {
      const running = await launchChild({ ...launchOf('migrate', script), stopping: stopped });
      const onStop = (): void => running.signal('SIGTERM');
      stopped.addEventListener('abort', onStop, { once: true });
      const exit = await running.exited;
      stopped.removeEventListener('abort', onStop);
      if (exit.code === 0) return;
      throw new StackError(
        'migration-failed',
        `The database could not be brought up to date: the migration ended with ${describeExit(exit)}; ` +
          'its own messages are above.',
      );
    },
    keep: (name, script, onReady = () => undefined) =>
      keepRunning({
        name: `The ${name} process`,
        log,
        isRestarted: true,
        stopped,
        launch: (stopping) =>
          launchChild({ ...launchOf(name, script), stopping, readyWithinMs: READY_WITHIN_MS, onReady }),
      }),
  };
}
