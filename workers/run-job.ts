import { z } from 'zod';
import type { Log } from '../config/log.ts';
import type { Db } from '../db/db.ts';
import { type OutboxState, readState, retry } from '../db/outbox.ts';
import { transaction } from '../db/transaction.ts';
import type { Job } from '../queue/define-job.ts';
import type { Publisher } from '../queue/publish.ts';
import { isLost, type RunResult, runCounted, runKeys } from './run-keys.ts';

const JOB_DATA = z.object({ v: z.literal(1), keys: z.array(z.string().min(1).max(96)).min(1).max(256) });

/** What BullMQ tells of a job; the part of its Job class that decides anything here. */
export interface JobRun {
  readonly data: unknown;
  /** ≥ 1: the job failed before (jobs are added with one attempt), so a person pressed Retry. */
  readonly attemptsMade: number;
  /** ≥ 1: its worker was killed or lost its lock. Kept by BullMQ when the job is retried: such a job never counts as a person's wish. */
  readonly stalledCounter: number;
}

export interface RunJobOptions {
  readonly db: Db;
  readonly publisher: Pick<Publisher, 'hint'>;
  readonly log: Log;
  readonly metrics: {
    observeRun(kind: string, outcome: 'done' | 'failed' | 'lost', seconds: number, keys: number): void;
  };
}

/**
 * Every run of every job goes through here, once: parse, logging, metrics, and the decision what a failure means.
 * A job that comes back without an error says nothing about its rows; rows decide. It fails only to be *shown*: a single key whose row is failed.
 */
export async function runJob(
  options: RunJobOptions,
  job: Job,
  run: JobRun,
  signal: AbortSignal,
): Promise<{ done: number; failed: number }> {
  const { keys } = JOB_DATA.parse(run.data);
  const startedAt = performance.now();
  let outcome: 'done' | 'failed' | 'lost' = 'failed';
  try {
    const result = await runDecided(options, job, keys, run, signal);
    if (result.failures.size === 0) outcome = 'done';
    report(options, job, result);
    return { done: result.done, failed: result.failures.size };
  } catch (error) {
    if (!isLost(error, signal)) throw error;
    outcome = 'lost';
    options.log.warn('job.lost', { kind: job.kind, keys: keys.length, error });
    // Told to stop: somebody else can go on at once. With the database away the relay is soon enough.
    if (signal.aborted) options.publisher.hint(job.kind, keys);
    return { done: 0, failed: keys.length };
  } finally {
    options.metrics.observeRun(job.kind, outcome, (performance.now() - startedAt) / 1000, keys.length);
  }
}

async function runDecided(
  options: RunJobOptions,
  job: Job,
  keys: string[],
  run: JobRun,
  signal: AbortSignal,
): Promise<RunResult> {
  const { db, publisher } = options;
  const [key] = keys;
  const isStalled = run.stalledCounter >= 1;
  if (keys.length > 1 || key === undefined)
    return isStalled ? runCounted(db, job, keys, signal) : runKeys(db, job, keys, signal);
  const state = await readState(db, job.kind, key);
  if (state === undefined) return { done: 1, failures: new Map(), exhausted: [] };
  if (run.attemptsMade >= 1 && !isStalled) return runPressed(options, job, state, signal);
  if (state.failed && !isStalled) throw new FailedRow(state);
  // Shown by a fresh job: pressing Retry on this one could not be told from its worker being killed again.
  if (state.failed) publisher.hint(job.kind, [key], { alone: true });
  // A key that has failed before may be one that kills its process.
  return isStalled || state.attempts > 0 ? runCounted(db, job, keys, signal) : runKeys(db, job, keys, signal);
}

/**
 * A person pressed Retry. On a failed row that is one attempt: if it fails, row and job are failed again, so that the Failed list stays the list of
 * failed rows. On a row that was owed again since the job failed it only means: now.
 */
async function runPressed(
  { db, log }: RunJobOptions,
  job: Job,
  state: OutboxState,
  signal: AbortSignal,
): Promise<RunResult> {
  await transaction(db, (t) => retry(t, job.kind, [state.key]));
  const result = await runKeys(db, state.failed ? { ...job, attempts: 1 } : job, [state.key], signal);
  const [error] = result.failures.values();
  if (!state.failed || error === undefined) return result;
  log.error('work.failed', { kind: job.kind, key: state.key, error });
  throw error;
}

/** A row without attempts left, as Bull Board's Failed list shows it. */
class FailedRow extends Error {
  constructor(state: OutboxState) {
    super(state.lastError ?? 'failed');
    this.name = 'FailedRow';
  }
}

function report({ log, publisher }: RunJobOptions, job: Job, result: RunResult): void {
  for (const [key, error] of result.failures) {
    const isExhausted = result.exhausted.includes(key);
    log[isExhausted ? 'error' : 'warn'](isExhausted ? 'work.failed' : 'work.retried', { kind: job.kind, key, error });
  }
  // Alone: this job will throw the row's error and stay in the Failed list.
  if (result.exhausted.length > 0) publisher.hint(job.kind, result.exhausted, { alone: true });
}
