import { afterAll, beforeAll, inject } from 'vitest';
import type { Stack } from '../../stack/start-stack.ts';
import { startThrowAwayStack } from '../../stack/throw-away-stack.ts';

export interface PrivateRedis {
  readonly url: string;
  /** SIGKILL: everything in it is gone. */
  kill(): Promise<void>;
  /** Starts it again, empty, at the same address. */
  restart(): Promise<void>;
}

/** A Redis server of this test file alone, to wipe and to kill. Call once at the top of the file. */
export function usePrivateRedis(): PrivateRedis {
  let stack: Stack | undefined;
  beforeAll(async () => {
    stack = await startThrowAwayStack({
      ...process.env,
      DATABASE_URL: inject('databaseUrl'),
      REDIS_URL: undefined,
    });
  });
  afterAll(() => stack?.stop());
  return {
    get url() {
      if (stack === undefined) throw new Error('the private Redis is there from beforeAll on');
      return stack.redisUrl;
    },
    kill: async () => stack?.redis?.stop(AbortSignal.abort()),
    restart: async () => stack?.redis?.start(),
  };
}
