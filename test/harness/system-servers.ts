import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeptProcess } from '../../stack/running-process.ts';
import { type Stack, startStack } from '../../stack/start-stack.ts';
import { startThrowAwayStack } from '../../stack/throw-away-stack.ts';
import { waitFor } from './wait-for.ts';

/** A database or Redis server of one test alone. */
export interface PrivateServer {
  readonly url: string;
  /** kill -9, resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again on what it left on disk; resolves when it answers. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A private server of its own: the URLs of the run's shared ones must not stand in for it. */
const environment = (given: { databaseUrl?: string; redisUrl?: string }): NodeJS.ProcessEnv => ({
  ...process.env,
  DATABASE_URL: given.databaseUrl,
  REDIS_URL: given.redisUrl,
});

/** InnoDB on disk, so that it recovers after a kill. */
export async function startPrivateDatabase(redisUrl: string): Promise<PrivateServer> {
  const stack = await startThrowAwayStack(environment({ redisUrl }));
  return killable(stack, stack.databaseUrl, stack.database);
}

/** Keeps nothing on disk: a killed one comes back empty. */
export async function startPrivateRedis(databaseUrl: string): Promise<PrivateServer> {
  const stack = await startThrowAwayStack(environment({ databaseUrl }));
  return killable(stack, stack.redisUrl, stack.redis);
}

/** With an append-only file, as `npm start` runs it; it is watched, so it comes back by itself after a kill. */
export async function startLastingRedis(databaseUrl: string): Promise<PrivateServer> {
  // The prefix of the throw-away stacks: should this process be killed, the next of them clears up.
  const dataDir = mkdtempSync(join(tmpdir(), 'espalier-throw-away-'));
  const stack = await startStack({ dataDir, databaseUrl, env: environment({ databaseUrl }), log: () => {} });
  const killed = () => stack.redis?.signal('SIGKILL');
  process.once('exit', killed);
  const server = killable(stack, stack.redisUrl, stack.redis);
  return {
    ...server,
    start: async () =>
      void (await waitFor('the watched Redis to be back', () => stack.redis?.pid !== undefined && stack.redis.pid)),
    async stop() {
      process.removeListener('exit', killed);
      await stack.stop(AbortSignal.abort());
      rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

function killable(stack: Stack, url: string, server: KeptProcess | undefined): PrivateServer {
  if (server === undefined) throw new Error('the stack was told to use a server that runs elsewhere');
  return {
    url,
    async kill() {
      const { pid } = server;
      server.signal('SIGKILL');
      await waitFor(`${server.name} to be gone`, () => server.pid !== pid);
    },
    start: () => server.start(),
    stop: () => stack.stop(),
  };
}
