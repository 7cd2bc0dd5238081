import type { JobKind } from '../domain/job-kinds.ts';
import type { Executor } from './connection.ts';

/** A debt as a worker saw it: which thing, and which version of the debt. */
export interface TakenRow {
  readonly key: string;
  readonly stamp: number;
  readonly attempts: number;
}

export interface OutboxState extends TakenRow {
  readonly failed: boolean;
  readonly lastError: string | null;
}

/** Keys per statement and per job (core-mechanism A). */
export const OUTBOX_BATCH = 256;
/** How long a hint may take before the relay looks after its row. */
export const GRACE_MS = 10_000;
const LEASE_MS = 30_000;

/** Names the version of a debt: random, so that a deleted and re-owed row never looks like the one seen before. */
export const newStamp = (): number => Math.floor(Math.random() * 2 ** 52);

/** Bytewise order, the order in which every statement locks keys. All keys are ASCII. */
export const sortKeys = (keys: Iterable<string>): string[] => [...new Set(keys)].sort();

export function* slices<T>(items: readonly T[], size: number = OUTBOX_BATCH): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

const NOW_PLUS = 'NOW(6) + INTERVAL ? MICROSECOND';
const micro = (ms: number): number => Math.round(ms * 1000);

/**
 * Owes work on things: inserts the rows or gives the existing ones a new stamp. `dueInMs` is when workers may start, `lookInMs` when the
 * relay republishes. An earlier time wins, except that a row in back-off keeps its own; a failed row is revived.
 * Assignments run left to right: `stamp` last, `failed_at` before it.
 */
export async function owe(
  db: Executor,
  kind: JobKind,
  debts: readonly { key: string; stamp: number; dueInMs: number; lookInMs: number }[],
): Promise<void> {
  for (const slice of slices(debts)) {
    await db.run(
      `INSERT INTO outbox (kind, \`key\`, stamp, due_at, look_at)
       VALUES ${slice.map(() => `(?, ?, ?, ${NOW_PLUS}, ${NOW_PLUS})`).join(', ')}
       ON DUPLICATE KEY UPDATE
         due_at = IF(failed_at IS NOT NULL, VALUES(due_at), IF(attempts > 0, due_at, LEAST(due_at, VALUES(due_at)))),
         look_at = IF(failed_at IS NOT NULL, VALUES(look_at), IF(attempts > 0, look_at, LEAST(look_at, VALUES(look_at)))),
         attempts = IF(failed_at IS NOT NULL, 0, attempts),
         failed_at = NULL,
         stamp = VALUES(stamp)`,
      slice.flatMap((debt) => [kind, debt.key, debt.stamp, micro(debt.dueInMs), micro(debt.lookInMs)]),
    );
  }
}

/** The rows of these keys that are due and not failed. A key without one is dropped: its work is done. Read before any domain row. */
export async function take(db: Executor, kind: JobKind, keys: readonly string[]): Promise<TakenRow[]> {
  if (keys.length === 0) return [];
  return db.rows<TakenRow>(
    `SELECT \`key\`, stamp, attempts FROM outbox FORCE INDEX (PRIMARY)
     WHERE kind = ? AND \`key\` IN (?) AND due_at <= NOW(6) AND failed_at IS NULL ORDER BY \`key\``,
    [kind, sortKeys(keys)],
  );
}

/**
 * Locks the outbox rows themselves, for kinds that have no domain row: then it is the only lock the transaction takes first. `stamp` is read so that the
 * index alone does not answer: for that both servers read more of a small table than the keys, and wait for strangers.
 */
export async function lockOutboxRows(
  db: Executor,
  kind: JobKind,
  keys: readonly string[],
  wait: boolean,
): Promise<string[]> {
  if (keys.length === 0) return [];
  const rows = await db.rows<{ key: string; stamp: number }>(
    `SELECT \`key\`, stamp FROM outbox FORCE INDEX (PRIMARY)
     WHERE kind = ? AND \`key\` IN (?) ORDER BY \`key\` FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`,
    [kind, sortKeys(keys)],
  );
  return rows.map((row) => row.key);
}

/**
 * Ends debts: deletes the rows whose stamp is still the one taken.
 * @returns the keys that were owed again meanwhile; their attempts are reset, the caller hints them after commit.
 */
export async function settle(db: Executor, kind: JobKind, rows: readonly TakenRow[]): Promise<string[]> {
  const again: string[] = [];
  for (const slice of slices([...rows].sort((a, b) => (a.key < b.key ? -1 : 1)))) {
    const keys = slice.map((row) => row.key);
    const { affectedRows } = await db.run(
      'DELETE outbox FROM outbox FORCE INDEX (PRIMARY) WHERE kind = ? AND `key` IN (?) AND stamp IN (?)',
      [kind, keys, slice.map((row) => row.stamp)],
    );
    if (affectedRows < slice.length) again.push(...(await keepOwedAgain(db, kind, keys)));
  }
  return again;
}

/** What is still there after a settle was owed meanwhile: a fresh debt, with no failed attempts. */
async function keepOwedAgain(db: Executor, kind: JobKind, keys: readonly string[]): Promise<string[]> {
  await db.run(
    `UPDATE outbox FORCE INDEX (PRIMARY) SET due_at = IF(attempts > 0, NOW(6), due_at), look_at = IF(attempts > 0, NOW(6), look_at), attempts = 0
     WHERE kind = ? AND \`key\` IN (?) AND failed_at IS NULL`,
    [kind, keys],
  );
  return (await take(db, kind, keys)).map((row) => row.key);
}

/** Ends a debt by setting its next alarm: periodic work. A row owed meanwhile stays as it is and is run again. */
export async function settleUntil(db: Executor, kind: JobKind, row: TakenRow, nextInMs: number): Promise<boolean> {
  const { affectedRows } = await db.run(
    `UPDATE outbox FORCE INDEX (PRIMARY) SET due_at = ${NOW_PLUS}, look_at = due_at, attempts = 0, failed_at = NULL, last_error = NULL, stamp = ?
     WHERE kind = ? AND \`key\` = ? AND stamp = ?`,
    [micro(nextInMs), newStamp(), kind, row.key, row.stamp],
  );
  return affectedRows === 1;
}

/**
 * Records a failed run of one key, in a transaction of its own: one more attempt, due after the back-off; at the limit the row is failed.
 * No stamp condition: a key that is owed every second must still run out of attempts.
 * @returns whether the row is now failed
 */
export async function fail(
  db: Executor,
  kind: JobKind,
  key: string,
  failure: { error: string; backoffMs: number; limit: number; counted: boolean },
): Promise<boolean> {
  await db.run(
    `UPDATE outbox FORCE INDEX (PRIMARY) SET
       attempts = LEAST(attempts + ?, 65535),
       failed_at = IF(attempts >= ?, NOW(6), NULL),
       due_at = ${NOW_PLUS},
       look_at = IF(failed_at IS NULL, due_at, NULL),
       last_error = ?
     WHERE kind = ? AND \`key\` = ? AND failed_at IS NULL`,
    [failure.counted ? 0 : 1, failure.limit, micro(failure.backoffMs), failure.error.slice(0, 500), kind, key],
  );
  return (await readState(db, kind, key))?.failed ?? false;
}

/**
 * Puts a key off without counting an attempt: what failed was not the key. One that was `counted` before it was made is taken back. In a transaction of
 * its own. A new owing may bring it forward.
 */
export async function postpone(
  db: Executor,
  kind: JobKind,
  key: string,
  { error, delayMs, counted }: { error: string; delayMs: number; counted: boolean },
): Promise<void> {
  await db.run(
    `UPDATE outbox FORCE INDEX (PRIMARY) SET due_at = ${NOW_PLUS}, look_at = due_at, last_error = ?, attempts = IF(attempts > 0, attempts - ?, 0)
     WHERE kind = ? AND \`key\` = ? AND failed_at IS NULL`,
    [micro(delayMs), error.slice(0, 500), counted ? 1 : 0, kind, key],
  );
}

/**
 * Counts an attempt before it is made: for a key that may kill its process and so could never record its failure. A row that is not due is not
 * counted: nothing will be run.
 * @returns `counted`; `nothing` when there is no work; `exhausted` when all attempts were made and none came back
 */
export async function countAttempt(
  db: Executor,
  kind: JobKind,
  key: string,
  limit: number,
): Promise<'counted' | 'nothing' | 'exhausted'> {
  const { affectedRows } = await db.run(
    `UPDATE outbox FORCE INDEX (PRIMARY) SET attempts = LEAST(attempts + 1, 65535)
     WHERE kind = ? AND \`key\` = ? AND attempts < ? AND due_at <= NOW(6) AND failed_at IS NULL`,
    [kind, key, limit],
  );
  if (affectedRows === 1) return 'counted';
  const [row] = await take(db, kind, [key]);
  return row !== undefined && row.attempts >= limit ? 'exhausted' : 'nothing';
}

/** The row of one key, or undefined when nothing is owed. */
export async function readState(db: Executor, kind: JobKind, key: string): Promise<OutboxState | undefined> {
  const [row] = await db.rows<{
    key: string;
    stamp: number;
    attempts: number;
    failed: number;
    lastError: string | null;
  }>(
    'SELECT `key`, stamp, attempts, failed_at IS NOT NULL AS failed, last_error AS lastError FROM outbox WHERE kind = ? AND `key` = ?',
    [kind, key],
  );
  return row && { ...row, failed: row.failed === 1 };
}

/** A person's wish to try again: attempts 0, due now. */
export async function retry(db: Executor, kind: JobKind, keys: readonly string[]): Promise<number> {
  let count = 0;
  for (const slice of slices(sortKeys(keys))) {
    const { affectedRows } = await db.run(
      `UPDATE outbox FORCE INDEX (PRIMARY) SET attempts = 0, failed_at = NULL, due_at = NOW(6), look_at = NOW(6) + INTERVAL ${micro(GRACE_MS)} MICROSECOND
       WHERE kind = ? AND \`key\` IN (?)`,
      [kind, slice],
    );
    count += affectedRows;
  }
  return count;
}

export interface Overdue {
  readonly key: string;
  readonly attempts: number;
}

/** What the relay should (re)publish. Never a locking read: it would lock index → row while the others lock row → index. */
export const look = (db: Executor, kind: JobKind, limit: number): Promise<Overdue[]> =>
  db.rows<Overdue>(
    'SELECT `key`, attempts FROM outbox FORCE INDEX (look) WHERE kind = ? AND look_at <= NOW(6) ORDER BY look_at LIMIT ?',
    [kind, limit],
  );

/** Puts off the next look at rows that were just published. One that failed or set its next alarm meanwhile keeps its own time. */
export async function lease(db: Executor, kind: JobKind, keys: readonly string[]): Promise<void> {
  for (const slice of slices(sortKeys(keys))) {
    await db.run(
      `UPDATE outbox FORCE INDEX (PRIMARY) SET look_at = NOW(6) + INTERVAL ${micro(LEASE_MS)} MICROSECOND
       WHERE kind = ? AND \`key\` IN (?) AND due_at <= NOW(6) AND failed_at IS NULL`,
      [kind, slice],
    );
  }
}

/** One page of everything due or failed of a kind, by primary key: for the rebuild after a wipe. */
export const pageDue = (
  db: Executor,
  kind: JobKind,
  afterKey: string,
  limit: number,
): Promise<(Overdue & { failed: number })[]> =>
  db.rows(
    `SELECT \`key\`, attempts, failed_at IS NOT NULL AS failed FROM outbox FORCE INDEX (PRIMARY)
     WHERE kind = ? AND \`key\` > ? AND (due_at <= NOW(6) OR failed_at IS NOT NULL) ORDER BY \`key\` LIMIT ?`,
    [kind, afterKey, limit],
  );

export interface OutboxDepth {
  readonly kind: string;
  readonly owed: number;
  readonly failed: number;
  /** Seconds since the oldest row that is due and not failed became due. */
  readonly oldestSeconds: number;
}

/** Depth and age by kind, for metrics and the doctor. */
export const outboxDepths = (db: Executor): Promise<OutboxDepth[]> =>
  db.rows<OutboxDepth>(
    `SELECT kind, CAST(COUNT(*) AS DOUBLE) AS owed, CAST(COALESCE(SUM(failed_at IS NOT NULL), 0) AS DOUBLE) AS failed,
       COALESCE(TIMESTAMPDIFF(MICROSECOND, MIN(IF(failed_at IS NULL AND due_at <= NOW(6), due_at, NULL)), NOW(6)), 0) / 1e6 AS oldestSeconds
     FROM outbox GROUP BY kind`,
  );
