import type { z } from 'zod';
import { withEmbeddedEnvironment } from '../config/embedded-environment.ts';
import { checkFlags, ENVIRONMENT, EnvironmentError, flagsToVariables, readVariables } from '../config/env.ts';
import { type Db, openDb } from './db.ts';
import { DatabaseError, isConnectionLoss } from './errors.ts';

const NEEDS_STACK = '\n(npm start must be running, or DATABASE_URL and SECRET_KEY be set)';
const DATABASE = ENVIRONMENT.pick({ DATABASE_URL: true, SECRET_KEY: true, SECRET_KEYS_OLD: true });

/**
 * Runs a small program (doctor, api-key, rotate-key) against the database of the environment, or of the embedded stack that runs here.
 * @param options flags of the program itself; `--data-dir` says which embedded stack
 * @param run gives the exit code
 */
export async function runSmallProgram<T extends z.ZodObject>(
  options: T,
  run: (db: Db, flags: z.output<T>) => Promise<number>,
): Promise<void> {
  try {
    const { DATA_DIR, ...flags } = flagsToVariables(process.argv.slice(2));
    checkFlags(flags, Object.keys(options.shape));
    const read = readVariables(options, [], flags);
    const environment = readVariables(DATABASE, [], withEmbeddedEnvironment(DATA_DIR));
    const db = openDb({
      databaseUrl: environment.DATABASE_URL,
      connections: 2,
      answerWithinMs: Number.POSITIVE_INFINITY,
      secretKeys: [environment.SECRET_KEY.reveal(), ...environment.SECRET_KEYS_OLD.map((key) => key.reveal())],
    });
    process.exitCode = await run(db, read).finally(() => db.close());
  } catch (error) {
    process.exitCode = 2;
    process.stderr.write(`${explain(error)}\n`);
  }
}

function explain(error: unknown): string {
  if (error instanceof EnvironmentError)
    return `${error.message}${error.message.includes('DATABASE_URL') ? NEEDS_STACK : ''}`;
  if (isConnectionLoss(error)) return 'MySQL cannot be reached. Is npm start running, or DATABASE_URL right?';
  if (error instanceof DatabaseError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** A line for the person who called the program. */
export const say = (line: string): void => void process.stdout.write(`${line}\n`);
