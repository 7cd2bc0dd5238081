import type { Executor } from '../connection.ts';
import { whereRows } from './where-rows.ts';

const CLEAR_BATCH = 500;

/**
 * Takes every pending command out of the queues of these enrollments; each becomes a result that says it was cleared. Only the rows that were locked are
 * moved: a command that is queued meanwhile stays queued, it belongs to what comes next.
 * @returns how many were cleared
 */
export async function clearQueues(t: Executor, enrollmentIds: readonly number[]): Promise<number> {
  if (enrollmentIds.length === 0) return 0;
  const rows = await t.rows<{ enrollmentId: number; urgency: number; commandId: number }>(
    `SELECT enrollment_id AS enrollmentId, urgency, command_id AS commandId FROM command_queue
     WHERE enrollment_id IN (?) ORDER BY enrollment_id, urgency, command_id FOR UPDATE`,
    [enrollmentIds],
  );
  for (let start = 0; start < rows.length; start += CLEAR_BATCH) {
    const batch = rows.slice(start, start + CLEAR_BATCH);
    await t.run(
      `INSERT INTO command_results (enrollment_id, command_id, cleared_at) VALUES ${batch.map(() => '(?, ?, NOW(6))').join(', ')}
       ON DUPLICATE KEY UPDATE cleared_at = IF(ended_at IS NULL, VALUES(cleared_at), cleared_at)`,
      batch.flatMap((row) => [row.enrollmentId, row.commandId]),
    );
    const where = whereRows(
      ['enrollment_id', 'urgency', 'command_id'],
      batch.map((row) => [row.enrollmentId, row.urgency, row.commandId]),
    );
    await t.run(`DELETE FROM command_queue WHERE ${where.sql}`, where.values);
  }
  return rows.length;
}
