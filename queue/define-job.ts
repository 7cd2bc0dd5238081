import type { Executor } from '../db/connection.ts';
import type { TakenRow } from '../db/outbox.ts';
import type { Transaction } from '../db/transaction.ts';
import type { JobKind } from '../domain/job-kinds.ts';

interface Common {
  readonly kind: JobKind;
  /** Jobs of this kind side by side in one process. Each job carries up to 256 keys. */
  readonly concurrency: number;
  /** Failed runs of one key before its row is failed. Infinity for work that must never stop, such as periodic kinds. */
  readonly attempts: number;
  /** Longest wait between two attempts; the first is 1 s and doubles. */
  readonly backoffCapMs: number;
  /** A run that takes longer is aborted and its transaction rolled back. */
  readonly timeoutMs: number;
}

/**
 * A job whose effect is in MySQL: lock → take → run → settle in one short transaction. `run` must do no I/O but its transaction's: it may be run
 * again after a deadlock. Two runs of one key meet at the lock before they take; the second finds no row.
 */
export interface DatabaseJob extends Common {
  readonly effect: 'database';
  /** Locks the domain rows of these keys in ascending order; with `wait` false it skips the ones held by others. @returns the keys locked */
  lock(t: Executor, keys: readonly string[], wait: boolean): Promise<string[]>;
  /** A key whose lock is held is dropped instead of waited for: its lock is the outbox row itself, so whoever holds it is doing this very work. */
  readonly dropsHeld?: true;
  /** Reads the domain, writes the effect, owes what follows. For periodic work: how long until the next alarm. */
  run(t: Transaction, keys: readonly string[]): Promise<{ nextInMs: number } | undefined>;
}

/** What became of the keys of one run outside: how to write it down, and which keys failed. */
export interface OutsideOutcome {
  record(t: Transaction): Promise<void>;
  readonly failures: ReadonlyMap<string, Error>;
}

/** A job whose effect is outside MySQL: take → I/O → one transaction that records the outcome and settles. At least once, so the I/O carries a stable id. */
export interface OutsideJob extends Common {
  readonly effect: 'outside';
  run(rows: readonly TakenRow[], signal: AbortSignal): Promise<OutsideOutcome>;
}

export type Job = DatabaseJob | OutsideJob;

const DEFAULTS = { concurrency: 2, attempts: 8, backoffCapMs: 60_000, timeoutMs: 30_000 };

type Definition<T extends Job> = Omit<T, keyof typeof DEFAULTS> & Partial<typeof DEFAULTS>;

/** Defines a kind of job; each is one file in `workers/`. The top of its `run` says what makes running it twice safe. */
export const defineJob = <T extends Job>(job: Definition<T>): Definition<T> & typeof DEFAULTS => ({
  ...DEFAULTS,
  ...job,
});

/** Milliseconds to wait after the n-th failed run (n from 1): 1 s, 2 s, 4 s … up to the cap. */
export const backoffMs = (job: Job, attempt: number): number =>
  Math.min(job.backoffCapMs, 1000 * 2 ** Math.min(attempt - 1, 30));
