import type { Executor } from '../connection.ts';

export interface PushTarget {
  readonly enrollmentId: number;
  readonly topic: string;
  readonly pushMagic: string;
  readonly token: Buffer;
  readonly isDead: boolean;
}

const TARGET_BATCH = 5_000;

/** What is needed to push to these channels; those without push data are missing. Primary key range. */
export async function readPushTargets(db: Executor, enrollmentIds: readonly number[]): Promise<PushTarget[]> {
  const targets: PushTarget[] = [];
  for (let start = 0; start < enrollmentIds.length; start += TARGET_BATCH) {
    const rows = await db.rows<{
      enrollmentId: number;
      topic: string;
      pushMagic: string;
      token: Buffer;
      isDead: number;
    }>(
      `SELECT enrollment_id AS enrollmentId, topic, push_magic AS pushMagic, token, dead_at IS NOT NULL AS isDead
       FROM push_tokens WHERE enrollment_id IN (?)`,
      [enrollmentIds.slice(start, start + TARGET_BATCH)],
    );
    targets.push(...rows.map((row) => ({ ...row, isDead: row.isDead === 1 })));
  }
  return targets;
}

export interface PushRecord {
  readonly enrollmentId: number;
  /** The token that was pushed to: the verdict counts only for it. */
  readonly token: Buffer;
  readonly status: number | undefined;
  readonly error: string | undefined;
  readonly apnsId: string | undefined;
  /** APNs says that the token was dead at this time; a token set later is not. */
  readonly deadSince: Date | undefined;
}

const RECORD_BATCH = 500;
const MAX_REPUSH_SECONDS = 86_400;

/**
 * Writes down what pushes did, and when to push again should the queue still hold commands then: after `repushSeconds`, doubling with each unanswered
 * push that APNs took, up to a day. A verdict on a token that was replaced meanwhile changes nothing.
 */
export async function recordPushes(t: Executor, records: readonly PushRecord[], repushSeconds: number): Promise<void> {
  const sorted = [...records].sort((a, b) => a.enrollmentId - b.enrollmentId);
  for (let start = 0; start < sorted.length; start += RECORD_BATCH) {
    const batch = sorted.slice(start, start + RECORD_BATCH);
    // An insert that always meets its row: one statement for many rows with a value each.
    await t.run(
      `INSERT INTO push_tokens (enrollment_id, topic, push_magic, token, updated_at, last_push_status, last_push_error, last_apns_id, dead_at)
       VALUES ${batch.map(() => "(?, '', '', ?, NOW(6), ?, ?, ?, ?)").join(', ')}
       ON DUPLICATE KEY UPDATE
         last_push_at = IF(token = VALUES(token), NOW(6), last_push_at),
         last_push_status = IF(token = VALUES(token), VALUES(last_push_status), last_push_status),
         last_push_error = IF(token = VALUES(token), VALUES(last_push_error), last_push_error),
         last_apns_id = IF(token = VALUES(token), VALUES(last_apns_id), last_apns_id),
         dead_at = IF(token = VALUES(token) AND VALUES(dead_at) IS NOT NULL AND VALUES(dead_at) >= updated_at - INTERVAL 1 SECOND, NOW(6), dead_at),
         repush_at = IF(dead_at IS NULL, NOW(6) + INTERVAL LEAST(? * POW(2, LEAST(unanswered_pushes, 20)), ?) SECOND, NULL),
         unanswered_pushes = IF(VALUES(last_push_status) = 200, LEAST(unanswered_pushes + 1, 1000), unanswered_pushes)`,
      [
        ...batch.flatMap((row) => [
          row.enrollmentId,
          row.token,
          row.status ?? null,
          row.error?.slice(0, 255) ?? null,
          row.apnsId ?? null,
          row.deadSince ?? null,
        ]),
        repushSeconds,
        MAX_REPUSH_SECONDS,
      ],
    );
  }
}

/** Channels whose repush is due. Never a locking read: it would lock index → row. Index `repush`. */
export const readDueRepushes = (
  db: Executor,
  limit: number,
): Promise<{ enrollmentId: number; hasCommands: number }[]> =>
  db.rows(
    `SELECT p.enrollment_id AS enrollmentId, EXISTS (SELECT 1 FROM command_queue q WHERE q.enrollment_id = p.enrollment_id) AS hasCommands
     FROM push_tokens p FORCE INDEX (repush) WHERE p.repush_at <= NOW(6) ORDER BY p.repush_at LIMIT ?`,
    [limit],
  );

/**
 * Nothing waits for these channels any more: no repush, and the next push starts with the short wait again. One that was pushed since they were read keeps the
 * time that this push set.
 */
export async function cancelRepushes(t: Executor, enrollmentIds: readonly number[]): Promise<void> {
  if (enrollmentIds.length === 0) return;
  await t.run(
    'UPDATE push_tokens SET repush_at = NULL, unanswered_pushes = 0 WHERE enrollment_id IN (?) AND repush_at <= NOW(6)',
    [ascending(enrollmentIds)],
  );
}

/** Puts the next look at these channels off while their push is owed. */
export async function postponeRepushes(t: Executor, enrollmentIds: readonly number[], seconds: number): Promise<void> {
  if (enrollmentIds.length === 0) return;
  await t.run(
    'UPDATE push_tokens SET repush_at = NOW(6) + INTERVAL ? SECOND WHERE enrollment_id IN (?) AND repush_at <= NOW(6)',
    [seconds, ascending(enrollmentIds)],
  );
}

const ascending = (ids: readonly number[]): number[] => [...ids].sort((a, b) => a - b);
