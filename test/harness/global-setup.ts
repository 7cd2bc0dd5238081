import type { TestProject } from 'vitest/node';
import { startThrowAwayStack } from '../../stack/throw-away-stack.ts';

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string;
    redisUrl: string;
  }
}

/** One throw-away database server and one Redis for the whole run; each test file makes its own database and key prefix. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stack = await startThrowAwayStack();
  project.provide('databaseUrl', stack.databaseUrl);
  project.provide('redisUrl', stack.redisUrl);
  return () => stack.stop();
}
