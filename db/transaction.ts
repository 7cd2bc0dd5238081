import type { JobKind } from '../domain/job-kinds.ts';
import type { Executor } from './connection.ts';
import type { Db } from './db.ts';
import { isContention } from './errors.ts';
import { GRACE_MS, newStamp, owe, settle, settleUntil, slices, type TakenRow } from './outbox.ts';
import { Pipeline } from './pipeline.ts';

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
  /** Does not wait for a query whose answer nobody needs, see db/pipeline.ts. Should it fail, the commit fails. */
  leave(query: Promise<unknown>): void;
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
  readonly alarms = new Map<JobKind, { row: TakenRow; nextInMs: number }[]>();
  /** What to hint once it is committed. */
  readonly hints = new Map<JobKind, string[]>();

  owe(kind: JobKind, keys: Iterable<string>, { inMs = 0, bulk = false }: OweOptions = {}): TakenRow[] {
    const debts = this.owed.get(kind) ?? new Map<string, Debt>();
    this.owed.set(kind, debts);
    return [...new Set(keys)].map((key) => {
      const known = debts.get(key);
      const dueInMs = Math.min(inMs, known?.dueInMs ?? inMs);
      const isHinted = known?.isHinted === true || (inMs === 0 && !bulk);
      const stamp = known?.stamp ?? newStamp();
      debts.set(key, { stamp, dueInMs, lookInMs: isHinted ? dueInMs + GRACE_MS : dueInMs, isHinted });
      return { key, stamp, attempts: 0 };
    });
  }

  /**
   * Writes everything. A key that is settled and owed by the same transaction is its next alarm: it is owed after it is settled, or the earlier
   * time of the debt just worked off would win over the new one.
   */
  async flush(t: Pipeline): Promise<void> {
    const ended = new Map([...this.settled].map(([kind, rows]) => [kind, new Set(rows.map((row) => row.key))]));
    this.#writeOwed(t, (kind, key) => !(ended.get(kind)?.has(key) ?? false));
    for (const [kind, rows] of inOrder(this.settled)) this.#hint(kind, await settle(t, kind, rows));
    for (const [kind, alarms] of inOrder(this.alarms)) {
      for (const { row, nextInMs } of alarms.sort((a, b) => (a.row.key < b.row.key ? -1 : 1)))
        if (!(await settleUntil(t, kind, row, nextInMs))) this.#hint(kind, [row.key]);
    }
    this.#writeOwed(t, (kind, key) => ended.get(kind)?.has(key) ?? false);
  }

  #writeOwed(t: Pipeline, isWritten: (kind: JobKind, key: string) => boolean): void {
    for (const [kind, debts] of inOrder(this.owed)) {
      const rows = [...debts]
        .filter(([key]) => isWritten(kind, key))
        .map(([key, debt]) => ({ key, ...debt }))
        .sort((a, b) => (a.key < b.key ? -1 : 1));
      for (const slice of slices(rows)) t.leave(owe(t, kind, slice));
      this.#hint(
        kind,
        rows.filter((row) => row.isHinted).map((row) => row.key),
      );
    }
  }

  #hint(kind: JobKind, keys: readonly string[]): void {
    if (keys.length > 0) this.hints.set(kind, [...(this.hints.get(kind) ?? []), ...keys]);
  }
}

const inOrder = <T>(byKind: ReadonlyMap<JobKind, T>): [JobKind, T][] =>
  [...byKind].sort(([a], [b]) => (a < b ? -1 : 1));

/**
 * Runs `work` in one READ COMMITTED transaction and hints what it owes after the commit. Deadlocks and lock timeouts (1213, 1205) run the whole
 * again, at most ten times, with jitter; so `work` must not do anything outside the transaction. Any other error rolls back and is thrown; an
 * aborted signal throws its reason at once and ends the connection, and with it the transaction.
 * After a lost connection it is unknown whether the commit happened.
 * @param isRunAgain which errors run it again: of those that isContention tells, all or fewer
 */
export async function transaction<T>(
  db: Db,
  work: (t: Transaction) => Promise<T>,
  signal?: AbortSignal,
  isRunAgain: (error: unknown) => boolean = isContention,
): Promise<T> {
  for (let run = 1; ; run++) {
    try {
      return await runOnce(db, work, signal);
    } catch (error) {
      if (!isRunAgain(error) || run === MAX_RUNS || signal?.aborted) throw error;
      db.counters.contention += 1;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * run));
    }
  }
}

async function runOnce<T>(db: Db, work: (t: Transaction) => Promise<T>, signal?: AbortSignal): Promise<T> {
  signal?.throwIfAborted();
  const connection = await db.connect();
  const ledger = new Ledger();
  const pipeline = new Pipeline(connection);
  const t: Transaction = {
    rows: (sql, values) => pipeline.rows(sql, values),
    run: (sql, values) => pipeline.run(sql, values),
    leave: (query) => pipeline.leave(query),
    owe: (kind, keys, options) => ledger.owe(kind, keys, options),
    settle: (kind, rows) => void push(ledger.settled, kind, rows),
    settleUntil: (kind, row, nextInMs) => void push(ledger.alarms, kind, [{ row, nextInMs }]),
  };
  let isBroken = false;
  try {
    const value = await unlessAborted(signal, async () => {
      void pipeline.run('START TRANSACTION');
      const result = await work(t);
      await ledger.flush(pipeline);
      await pipeline.run('COMMIT');
      return result;
    });
    for (const [kind, keys] of ledger.hints) db.hint(kind, keys);
    return value;
  } catch (error) {
    if (signal?.aborted) isBroken = true;
    else
      await pipeline.rollback().catch(() => {
        isBroken = true;
      });
    throw error;
  } finally {
    if (isBroken) connection.destroy();
    else connection.release();
  }
}

function push<T>(lists: Map<JobKind, T[]>, kind: JobKind, items: readonly T[]): void {
  lists.set(kind, [...(lists.get(kind) ?? []), ...items]);
}

/**
 * Awaits work, but rejects with the signal's reason as soon as that is aborted: a statement under way may wait for a lock, and a destroyed connection
 * never answers it.
 */
export function unlessAborted<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (signal === undefined) return work();
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void work()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', onAbort));
  });
}
