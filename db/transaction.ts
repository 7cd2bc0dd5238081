import type { JobKind } from '../domain/job-kinds.ts';
import { type Executor, executorOn } from './connection.ts';
import type { Db } from './db.ts';
import { isContention } from './errors.ts';
import { GRACE_MS, newStamp, owe, settle, settleUntil, sortKeys, type TakenRow } from './outbox.ts';

const MAX_RUNS = 10;

export interface OweOptions {
  /** Not before, in milliseconds from now. */
  readonly inMs?: number;
  /** Owed in bulk: not hinted, the relay feeds it in slices, so that a person's work is never behind a fan-out. */
  readonly bulk?: boolean;
}

/**
 * A transaction. What is owed and settled is collected and written as the last statements before COMMIT, kinds and keys sorted:
 * outbox rows are by construction the last locks taken (docs/architecture.md, lock order).
 */
export interface Transaction extends Executor {
  /** Owes work of a kind on these things. @returns the rows as they will be written, to settle them from this process. */
  owe(kind: JobKind, keys: Iterable<string>, options?: OweOptions): TakenRow[];
  /** Ends debts that were taken in this transaction (or outside, for effects that are not in MySQL). */
  settle(kind: JobKind, rows: readonly TakenRow[]): void;
  /** Ends a periodic debt by setting its next alarm. */
  settleUntil(kind: JobKind, row: TakenRow, nextInMs: number): void;
}

interface Debt {
  readonly stamp: number;
  readonly dueInMs: number;
  readonly lookInMs: number;
  readonly isHinted: boolean;
}

class Ledger {
  readonly owed = new Map<JobKind, Map<string, Debt>>();
  readonly settled = new Map<JobKind, TakenRow[]>();
  readonly alarms: { kind: JobKind; row: TakenRow; nextInMs: number }[] = [];

  owe(kind: JobKind, keys: Iterable<string>, { inMs = 0, bulk = false }: OweOptions = {}): TakenRow[] {
    const debts = this.owed.get(kind) ?? new Map<string, Debt>();
    this.owed.set(kind, debts);
    const isHinted = inMs === 0 && !bulk;
    return [...new Set(keys)].map((key) => {
      const known = debts.get(key);
      const debt =
        known && known.dueInMs <= inMs
          ? known
          : { stamp: newStamp(), dueInMs: inMs, lookInMs: inMs + (isHinted ? GRACE_MS : 0), isHinted };
      debts.set(key, debt);
      return { key, stamp: debt.stamp, attempts: 0 };
    });
  }

  /** Writes everything; gives back what to hint once it is committed. */
  async flush(t: Executor): Promise<Map<JobKind, string[]>> {
    const hints = new Map<JobKind, string[]>();
    const hint = (kind: JobKind, keys: readonly string[]): void => {
      if (keys.length > 0) hints.set(kind, [...(hints.get(kind) ?? []), ...keys]);
    };
    for (const kind of [...this.owed.keys()].sort()) {
      const debts = this.owed.get(kind) ?? new Map<string, Debt>();
      const rows = sortKeys(debts.keys()).flatMap((key) => {
        const debt = debts.get(key);
        return debt === undefined ? [] : [{ key, ...debt }];
      });
      await owe(t, kind, rows);
      hint(
        kind,
        rows.filter((row) => row.isHinted).map((row) => row.key),
      );
    }
    for (const kind of [...this.settled.keys()].sort()) hint(kind, await settle(t, kind, this.settled.get(kind) ?? []));
    for (const { kind, row, nextInMs } of this.alarms) {
      if (!(await settleUntil(t, kind, row, nextInMs))) hint(kind, [row.key]);
    }
    return hints;
  }
}

/**
 * Runs `work` in one READ COMMITTED transaction and hints what it owes after the commit. Deadlocks and lock timeouts (1213, 1205) run the whole
 * again, at most ten times, with jitter; so `work` must not do anything outside the transaction. Any other error rolls back and is thrown.
 * After a lost connection it is unknown whether the commit happened.
 */
export async function transaction<T>(db: Db, work: (t: Transaction) => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let run = 1; ; run++) {
    try {
      return await runOnce(db, work, signal);
    } catch (error) {
      if (!isContention(error) || run === MAX_RUNS || signal?.aborted) throw error;
      db.counters.contention += 1;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * run));
    }
  }
}

async function runOnce<T>(db: Db, work: (t: Transaction) => Promise<T>, signal?: AbortSignal): Promise<T> {
  const connection = await db.connect();
  const onAbort = (): void => connection.destroy();
  signal?.addEventListener('abort', onAbort, { once: true });
  const ledger = new Ledger();
  const executor = executorOn(connection);
  const t: Transaction = {
    ...executor,
    owe: (kind, keys, options) => ledger.owe(kind, keys, options),
    settle: (kind, rows) => void ledger.settled.set(kind, [...(ledger.settled.get(kind) ?? []), ...rows]),
    settleUntil: (kind, row, nextInMs) => void ledger.alarms.push({ kind, row, nextInMs }),
  };
  let isBroken = false;
  try {
    signal?.throwIfAborted();
    await executor.run('START TRANSACTION');
    const value = await work(t);
    const hints = await ledger.flush(executor);
    await executor.run('COMMIT');
    for (const [kind, keys] of hints) db.hint(kind, keys);
    return value;
  } catch (error) {
    await executor.run('ROLLBACK').catch(() => {
      isBroken = true;
    });
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    if (isBroken || signal?.aborted) connection.destroy();
    else connection.release();
  }
}
