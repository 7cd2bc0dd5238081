import type { Db } from '../../db/db.ts';
import { RESULT_BODY } from '../../db/queries/record-reports.ts';
import { foldEnrollmentId } from '../../mdm/enrollment-id.ts';

export interface EnrollmentRow {
  readonly id: number;
  readonly enrollmentId: string;
  readonly type: string;
  readonly isDevice: number;
  readonly enabled: number;
  readonly tally: number;
  readonly hostKey: string;
  readonly serialNumber: string | null;
  readonly topic: string | null;
  readonly pushMagic: string | null;
  readonly token: string | null;
}

/** What the tables say of an enrollment id. */
export async function readEnrollment(db: Db, id: string): Promise<EnrollmentRow | undefined> {
  const [row] = await db.rows<EnrollmentRow>(
    `SELECT e.id, e.enrollment_id AS enrollmentId, e.type, e.is_device AS isDevice, e.enabled, e.token_update_tally AS tally,
       h.host_key AS hostKey, h.serial_number AS serialNumber, p.topic, p.push_magic AS pushMagic, LOWER(HEX(p.token)) AS token
     FROM enrollments e JOIN hosts h ON h.id = e.host_id LEFT JOIN push_tokens p ON p.enrollment_id = e.id WHERE e.enrollment_key = ?`,
    [foldEnrollmentId(id)],
  );
  return row;
}

/** CommandUUIDs that wait for an enrollment, in the order of leaving. */
export const readQueue = async (db: Db, id: string): Promise<string[]> =>
  (
    await db.rows<{ uuid: string }>(
      `SELECT c.command_uuid AS uuid FROM command_queue q JOIN commands c ON c.id = q.command_id JOIN enrollments e ON e.id = q.enrollment_id
       WHERE e.enrollment_key = ? ORDER BY q.urgency, q.command_id`,
      [foldEnrollmentId(id)],
    )
  ).map((row) => row.uuid);

export interface ResultRow {
  readonly status: string | null;
  readonly hasEnded: number;
  readonly isCleared: number;
  readonly notNowTally: number;
  readonly hasNotNowAt: number;
  readonly body: Buffer | undefined;
}

/** What was recorded of an enrollment's commands, by CommandUUID. */
export async function readResults(db: Db, id: string): Promise<Record<string, ResultRow>> {
  const rows = await db.rows<Omit<ResultRow, 'body'> & { uuid: string; sealed: Buffer | null }>(
    `SELECT c.command_uuid AS uuid, r.status, r.ended_at IS NOT NULL AS hasEnded, r.cleared_at IS NOT NULL AS isCleared,
       r.not_now_tally AS notNowTally, r.not_now_at IS NOT NULL AS hasNotNowAt, r.body_sealed AS sealed
     FROM command_results r JOIN commands c ON c.id = r.command_id JOIN enrollments e ON e.id = r.enrollment_id WHERE e.enrollment_key = ?`,
    [foldEnrollmentId(id)],
  );
  return Object.fromEntries(
    rows.map(({ uuid, sealed, ...row }) => [
      uuid,
      { ...row, body: sealed === null ? undefined : db.secrets.open(RESULT_BODY, sealed) },
    ]),
  );
}

const TABLES = [
  'hosts',
  'enrollments',
  'push_tokens',
  'last_seen',
  'check_ins',
  'device_secrets',
  'certificate_associations',
  'commands',
  'command_queue',
  'command_results',
  'outbox',
] as const;

/** How many rows each table of the device path holds: to see that nothing was written. */
export async function countRows(db: Db): Promise<Record<string, number>> {
  const counts = await db.rows<{ name: string; count: number }>(
    TABLES.map((table) => `SELECT '${table}' AS name, COUNT(*) AS count FROM ${table}`).join(' UNION ALL '),
  );
  return Object.fromEntries(counts.map((row) => [row.name, row.count]));
}
