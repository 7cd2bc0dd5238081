import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from './find-binaries.ts';
import type { Log } from './log.ts';
import { logNothing } from './log.ts';
import { readPidFile, stopOrphan } from './pid-file.ts';
import { isAlive } from './process-identity.ts';
import type { Stack } from './start-stack.ts';
import { startStack } from './start-stack.ts';

const PREFIX = 'espalier-throw-away-';

/**
 * A private database and Redis for tests, in a folder of its own that is removed at stop. `TEST_MYSQLD` names another
 * database server; `DATABASE_URL` and `REDIS_URL` in `env` stand in for ours as everywhere. Should this process be
 * killed, the next throw-away stack clears up after it.
 */
export async function startThrowAwayStack(env: Environment = process.env, log: Log = logNothing): Promise<Stack> {
  await clearUpAfterKilledRuns();
  const dataDir = mkdtempSync(join(tmpdir(), PREFIX));
  const remove = (): void => rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
  try {
    const stack = await startStack({
      dataDir,
      databaseUrl: env.DATABASE_URL || undefined,
      redisUrl: env.REDIS_URL || undefined,
      throwAway: true,
      env,
      log,
    });
    const killAll = (): void => {
      for (const server of [stack.redis, stack.database]) server?.signal('SIGKILL');
      remove();
    };
    process.once('exit', killAll);
    return {
      ...stack,
      stop: async () => {
        process.removeListener('exit', killAll);
        await stack.stop();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

async function clearUpAfterKilledRuns(): Promise<void> {
  const temporary = realpathSync(tmpdir());
  for (const name of readdirSync(temporary).filter((entry) => entry.startsWith(PREFIX))) {
    const folder = join(temporary, name);
    const owner = readPidFile(join(folder, 'lock'));
    // Without a lock it is too young or not ours to judge.
    if (owner === undefined || isAlive(owner)) continue;
    const run = join(folder, 'run');
    const database = { name: 'database', pidFile: join(run, 'mysql.pid'), stopWithinMs: 0 };
    await stopOrphan({ ...database, markedBy: [`--datadir=${join(folder, 'mysql')}`] }, logNothing);
    const redis = { name: 'redis', pidFile: join(run, 'redis.pid'), stopWithinMs: 0 };
    await stopOrphan({ ...redis, markedBy: ['--dir', join(folder, 'redis')] }, logNothing);
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
