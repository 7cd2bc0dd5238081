import type { Executor } from '../connection.ts';

const SEEN_BATCH = 1_000;

/** Notes that these channels were heard now. Ids ascending: two writers take the locks in one order. */
export async function upsertLastSeen(db: Executor, enrollmentIds: Iterable<number>): Promise<void> {
  const sorted = [...new Set(enrollmentIds)].sort((a, b) => a - b);
  for (let start = 0; start < sorted.length; start += SEEN_BATCH) {
    const batch = sorted.slice(start, start + SEEN_BATCH);
    await db.run(
      `INSERT INTO last_seen (enrollment_id, seen_at) VALUES ${batch.map(() => '(?, NOW(6))').join(', ')} ON DUPLICATE KEY UPDATE seen_at = VALUES(seen_at)`,
      batch,
    );
  }
}
