import type { Executor } from '../connection.ts';
import type { CommandFacts } from './record-reports.ts';

/**
 * The first command in the queue of each enrollment: by priority, then in the order of queueing. Nothing but pending rows is in the queue, so each
 * enrollment costs one entry of the primary key (plus the NotNow rows in front when they are skipped).
 * @param skipNotNow leave out what the device just put off (nanomdm §2.4)
 */
export async function readNextCommandIds(
  db: Executor,
  enrollmentIds: readonly number[],
  skipNotNow: boolean,
): Promise<Map<number, number>> {
  if (enrollmentIds.length === 0) return new Map();
  const rows = await db.rows<{ enrollmentId: number; commandId: number | null }>(
    `SELECT e.id AS enrollmentId,
       (SELECT q.command_id FROM command_queue q WHERE q.enrollment_id = e.id${skipNotNow ? ' AND q.is_not_now = 0' : ''}
        ORDER BY q.enrollment_id, q.urgency, q.command_id LIMIT 1) AS commandId
     FROM enrollments e WHERE e.id IN (?)`,
    [enrollmentIds],
  );
  return new Map(rows.flatMap((row) => (row.commandId === null ? [] : [[row.enrollmentId, row.commandId]])));
}

/** Commands with their sealed bodies. */
export async function readCommandBodies(
  db: Executor,
  commandIds: readonly number[],
): Promise<Map<number, CommandFacts & { commandUuid: string; bodySealed: Buffer }>> {
  if (commandIds.length === 0) return new Map();
  const rows = await db.rows<CommandFacts & { commandUuid: string; bodySealed: Buffer }>(
    'SELECT id, command_uuid AS commandUuid, priority, request_type AS requestType, body_sealed AS bodySealed FROM commands WHERE id IN (?)',
    [commandIds],
  );
  return new Map(rows.map((row) => [row.id, row]));
}
