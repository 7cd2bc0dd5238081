import type { Db } from '../db/db.ts';
import { isConnectionLoss, isContention } from '../db/errors.ts';
import { countAttempt, fail, lockOutboxRows, postpone, take } from '../db/outbox.ts';
import { type Transaction, transaction, unlessAborted } from '../db/transaction.ts';
import { backoffMs, type DatabaseJob, type Job, type OutsideJob } from '../queue/define-job.ts';
import { GiveUp, RetryLater } from '../queue/errors.ts';

/** Singles of a failed batch side by side. */
const SIDE_BY_SIDE = 4;
const SKIPPED_AGAIN_MS = 5;
const CONTENDED_AGAIN_MS = 1_000;
/** More than a row can count: never reached. */
const NO_LIMIT = 65_536;

export interface RunResult {
  /** Keys whose work was done or found done already. */
  readonly done: number;
  readonly failures: ReadonlyMap<string, Error>;
  /** Keys whose row has now run out of attempts: to be shown. */
  readonly exhausted: readonly string[];
}

/** Whether a run ended without saying anything about its keys: the database is away, or this worker was told to stop. The rows remain. */
export const isLost = (error: unknown, signal: AbortSignal): boolean => signal.aborted || isConnectionLoss(error);

/**
 * Runs keys of one kind: all in one transaction; when that fails, one by one, and those that fail are recorded in their row.
 * @throws only what isLost tells: nothing is recorded then, and the relay brings the rows back
 */
export async function runKeys(db: Db, job: Job, keys: readonly string[], signal: AbortSignal): Promise<RunResult> {
  try {
    return job.effect === 'outside'
      ? await runOutside(db, job, keys, signal)
      : await runTogether(db, job, keys, signal);
  } catch (error) {
    if (isLost(error, signal)) throw error;
    const [key] = keys;
    if (keys.length === 1 && key !== undefined) return recordFailure(db, job, key, error, false);
    return runSingly(db, job, keys, signal, false);
  }
}

/**
 * Runs keys one by one and counts each attempt, committed, before it is made: for keys of a job whose worker was killed. One of them may be the killer,
 * and a killer records nothing. Those that were counted before come last, so that their companions get done first.
 */
export async function runCounted(db: Db, job: Job, keys: readonly string[], signal: AbortSignal): Promise<RunResult> {
  const rows = await take(db, job.kind, keys);
  const inOrder = rows.sort((a, b) => a.attempts - b.attempts).map((row) => row.key);
  return merge([done(keys.length - rows.length), await runSingly(db, job, inOrder, signal, true)]);
}

/** Held keys and keys in trouble are left for a transaction of their own: neither holds up nor spoils the batch. */
async function runTogether(db: Db, job: DatabaseJob, keys: readonly string[], signal: AbortSignal): Promise<RunResult> {
  const first = await runLocked(db, job, keys, false, signal);
  if (first.held.length > 0) await new Promise((resolve) => setTimeout(resolve, SKIPPED_AGAIN_MS));
  const again = first.held.length > 0 ? await runLocked(db, job, first.held, false, signal) : first;
  const held = job.dropsHeld === true ? [] : again.held;
  const troubled = [...new Set([...first.troubled, ...again.troubled])];
  return merge([
    done(keys.length - held.length - troubled.length),
    await runSingly(db, job, held, signal, false),
    await runSingly(db, job, troubled, signal, true),
  ]);
}

interface Left {
  /** Keys whose lock somebody else holds, or that have no domain row to lock. */
  readonly held: readonly string[];
  /** Keys that failed before. */
  readonly troubled: readonly string[];
}

/** Lock → take → run → settle. @returns the keys that it did not run */
async function runLocked(
  db: Db,
  job: DatabaseJob,
  keys: readonly string[],
  wait: boolean,
  signal: AbortSignal,
): Promise<Left> {
  const work = async (t: Transaction): Promise<Left> => {
    const locked = await job.lock(t, keys, wait);
    const held = keys.filter((key) => !locked.includes(key));
    // A key whose domain row is gone: its twins meet at the outbox row, the only lock there is.
    const orphans = wait ? await lockOutboxRows(t, job.kind, held, true) : [];
    const taken = await take(t, job.kind, [...locked, ...orphans]);
    const rows = keys.length > 1 ? taken.filter((row) => row.attempts === 0) : taken;
    if (rows.length > 0) {
      const next = await job.run(
        t,
        rows.map((row) => row.key),
      );
      if (next === undefined) t.settle(job.kind, rows);
      else for (const row of rows) t.settleUntil(job.kind, row, next.nextInMs);
    }
    const troubled = taken.filter((row) => !rows.includes(row)).map((row) => row.key);
    return { held: wait ? [] : held, troubled };
  };
  return transaction(db, work, withLimit(job, signal));
}

/** Take → I/O → one transaction that records the outcome and settles. */
async function runOutside(db: Db, job: OutsideJob, keys: readonly string[], signal: AbortSignal): Promise<RunResult> {
  const rows = await take(db, job.kind, keys);
  if (rows.length === 0) return done(keys.length);
  const limit = withLimit(job, signal);
  const outcome = await unlessAborted(limit, () => job.run(rows, limit));
  await transaction(db, async (t) => {
    await outcome.record(t);
    t.settle(
      job.kind,
      rows.filter((row) => !outcome.failures.has(row.key)),
    );
  });
  const results = [done(keys.length - outcome.failures.size)];
  for (const [key, error] of outcome.failures) results.push(await recordFailure(db, job, key, error, false));
  return merge(results);
}

/** The time limit holds for one transaction or one piece of I/O, not for a job: the slow one must not use up the time of its companions. */
const withLimit = (job: Job, signal: AbortSignal): AbortSignal =>
  AbortSignal.any([signal, AbortSignal.timeout(job.timeoutMs)]);

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
      const count = await transaction(db, (t) => countAttempt(t, job.kind, key, limitOf(job)));
      if (count === 'nothing') return done(1);
      if (count === 'exhausted') throw new GiveUp('the process died at each attempt');
    }
    if (job.effect === 'outside') return await runOutside(db, job, [key], signal);
    await runLocked(db, job, [key], true, signal);
    return done(1);
  } catch (error) {
    if (isLost(error, signal)) throw error;
    return recordFailure(db, job, key, error, isCounted);
  }
}

async function recordFailure(db: Db, job: Job, key: string, thrown: unknown, isCounted: boolean): Promise<RunResult> {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const delayMs = postponementOf(error);
  if (delayMs !== undefined) {
    await transaction(db, (t) => postpone(t, job.kind, key, { error: error.message, delayMs, counted: isCounted }));
    return { done: 0, failures: new Map([[key, error]]), exhausted: [] };
  }
  const isFailed = await transaction(db, async (t) => {
    const [row] = await take(t, job.kind, [key]);
    const attempt = (row?.attempts ?? 0) + (isCounted ? 0 : 1);
    return fail(t, job.kind, key, {
      error: error.message,
      backoffMs: backoffMs(job, Math.max(attempt, 1)),
      limit: error instanceof GiveUp ? 0 : limitOf(job),
      counted: isCounted,
    });
  });
  return { done: 0, failures: new Map([[key, error]]), exhausted: isFailed ? [key] : [] };
}

/** Milliseconds, when the failure says nothing about the key: it waits for something else, or others held its rows for too long. */
function postponementOf(error: Error): number | undefined {
  if (error instanceof RetryLater) return error.delayMs;
  return isContention(error) ? CONTENDED_AGAIN_MS : undefined;
}

const limitOf = (job: Job): number => Math.min(job.attempts, NO_LIMIT);

const done = (count: number): RunResult => ({ done: count, failures: new Map(), exhausted: [] });

const merge = (results: readonly RunResult[]): RunResult => ({
  done: results.reduce((sum, result) => sum + result.done, 0),
  failures: new Map(results.flatMap((result) => [...result.failures])),
  exhausted: results.flatMap((result) => result.exhausted),
});
