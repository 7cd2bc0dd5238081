import type { Db } from '../db/db.ts';
import { isConnectionLoss } from '../db/errors.ts';
import { countAttempt, fail, type TakenRow, take } from '../db/outbox.ts';
import { transaction } from '../db/transaction.ts';
import { backoffMs, type DatabaseJob, type Job, type OutsideJob } from '../queue/define-job.ts';
import { GiveUp, RetryLater } from '../queue/errors.ts';

/** Singles of a failed batch side by side. */
const SIDE_BY_SIDE = 4;
const SKIPPED_AGAIN_MS = 5;

export interface RunResult {
  /** Keys whose work was done or found done already. */
  readonly done: number;
  readonly failures: ReadonlyMap<string, Error>;
  /** Keys whose row has now run out of attempts: to be shown. */
  readonly exhausted: readonly string[];
}

/**
 * Runs keys of one kind: all in one transaction; when that fails, one by one, and those that fail are recorded in their row.
 * @throws only when the database is away: the rows remain and the relay brings them back
 */
export async function runKeys(db: Db, job: Job, keys: readonly string[], signal: AbortSignal): Promise<RunResult> {
  try {
    return await runTogether(db, job, keys, signal);
  } catch (error) {
    if (isConnectionLoss(error)) throw error;
    if (keys.length === 1) return recordFailure(db, job, keys[0] ?? '', error, false);
    return runSingly(db, job, keys, signal, false);
  }
}

/**
 * Runs keys one by one and counts each attempt, committed, before it is made: for keys of a job whose worker was killed. One of them may be the killer,
 * and a killer records nothing.
 */
export const runCounted = (db: Db, job: Job, keys: readonly string[], signal: AbortSignal): Promise<RunResult> =>
  runSingly(db, job, keys, signal, true);

async function runTogether(db: Db, job: Job, keys: readonly string[], signal: AbortSignal): Promise<RunResult> {
  if (job.effect === 'outside') return runOutside(db, job, keys, signal);
  const skipped = await runLocked(db, job, keys, false, signal);
  if (skipped.length > 0) {
    await new Promise((resolve) => setTimeout(resolve, SKIPPED_AGAIN_MS));
    const held = await runLocked(db, job, skipped, false, signal);
    if (held.length > 0) return runSingly(db, job, held, signal, false);
  }
  return { done: keys.length, failures: new Map(), exhausted: [] };
}

/** Lock → take → run → settle. @returns the keys whose lock somebody else holds */
async function runLocked(
  db: Db,
  job: DatabaseJob,
  keys: readonly string[],
  wait: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  return transaction(
    db,
    async (t) => {
      const locked = await job.lock(t, keys, wait);
      const rows = await take(t, job.kind, wait ? keys : locked);
      if (rows.length > 0) {
        const next = await job.run(
          t,
          rows.map((row) => row.key),
        );
        if (next === undefined) t.settle(job.kind, rows);
        else for (const row of rows) t.settleUntil(job.kind, row, next.nextInMs);
      }
      return wait ? [] : keys.filter((key) => !locked.includes(key));
    },
    signal,
  );
}

async function runOutside(db: Db, job: OutsideJob, keys: readonly string[], signal: AbortSignal): Promise<RunResult> {
  const rows = await take(db, job.kind, keys);
  if (rows.length === 0) return { done: keys.length, failures: new Map(), exhausted: [] };
  const outcome = await job.run(rows, signal);
  const done = rows.filter((row: TakenRow) => !outcome.failures.has(row.key));
  await transaction(db, async (t) => {
    await outcome.record(t);
    t.settle(job.kind, done);
  });
  const results = await Promise.all(
    [...outcome.failures].map(([key, error]) => recordFailure(db, job, key, error, false)),
  );
  return merge([{ done: keys.length - outcome.failures.size, failures: new Map(), exhausted: [] }, ...results]);
}

async function runSingly(
  db: Db,
  job: Job,
  keys: readonly string[],
  signal: AbortSignal,
  isCounted: boolean,
): Promise<RunResult> {
  const waiting = [...keys];
  const results: RunResult[] = [];
  const lane = async (): Promise<void> => {
    for (let key = waiting.shift(); key !== undefined; key = waiting.shift())
      results.push(await runOne(db, job, key, signal, isCounted));
  };
  // A counted run is after a killer: it must be alone when it strikes.
  await Promise.all(Array.from({ length: isCounted ? 1 : SIDE_BY_SIDE }, lane));
  return merge(results);
}

async function runOne(db: Db, job: Job, key: string, signal: AbortSignal, isCounted: boolean): Promise<RunResult> {
  try {
    if (isCounted) {
      const state = await countAttempt(db, job.kind, key);
      if (state !== undefined && state.attempts > job.attempts)
        throw new GiveUp('the process was killed at each attempt');
    }
    if (job.effect === 'outside') return await runOutside(db, job, [key], signal);
    await runLocked(db, job, [key], true, signal);
    return { done: 1, failures: new Map(), exhausted: [] };
  } catch (error) {
    if (isConnectionLoss(error)) throw error;
    return recordFailure(db, job, key, error, isCounted);
  }
}

async function recordFailure(db: Db, job: Job, key: string, thrown: unknown, isCounted: boolean): Promise<RunResult> {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const [row] = await take(db, job.kind, [key]);
  const attempt = (row?.attempts ?? 0) + (isCounted ? 0 : 1);
  const delayMs = error instanceof RetryLater ? error.delayMs : undefined;
  const isFailed = await fail(db, job.kind, key, {
    error: error.message,
    backoffMs: delayMs ?? backoffMs(job, Math.max(attempt, 1)),
    limit: error instanceof GiveUp ? 0 : Math.min(job.attempts, 65_536),
    counted: isCounted,
  });
  return { done: 0, failures: new Map([[key, error]]), exhausted: isFailed ? [key] : [] };
}

const merge = (results: readonly RunResult[]): RunResult => ({
  done: results.reduce((sum, result) => sum + result.done, 0),
  failures: new Map(results.flatMap((result) => [...result.failures])),
  exhausted: results.flatMap((result) => result.exhausted),
});
