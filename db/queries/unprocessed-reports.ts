import type { Executor } from '../connection.ts';
import type { SecretBox } from '../secret-box.ts';
import type { Transaction } from '../transaction.ts';
import { RESULT_BODY } from './record-reports.ts';
import { whereRows } from './where-rows.ts';

export interface UnprocessedReport {
  readonly hostId: number;
  readonly enrollmentId: number;
  readonly commandId: number;
  readonly requestType: string;
  readonly status: string;
  readonly body: Buffer;
}

/**
 * Final results of these hosts that nobody has consumed yet, in the order in which the commands were queued. A result that ended never changes again, so what is read
 * here is what is marked. Index `process`.
 */
export async function readUnprocessedReports(
  t: Executor,
  secrets: SecretBox,
  hostIds: readonly number[],
): Promise<UnprocessedReport[]> {
  const rows = await t.rows<Omit<UnprocessedReport, 'body'> & { bodySealed: Buffer }>(
    `SELECT r.process_host_id AS hostId, r.enrollment_id AS enrollmentId, r.command_id AS commandId, c.request_type AS requestType, r.status, r.body_sealed AS bodySealed
     FROM command_results r JOIN commands c ON c.id = r.command_id WHERE r.process_host_id IN (?) ORDER BY r.process_host_id, r.command_id`,
    [hostIds],
  );
  return rows.map(({ bodySealed, ...row }) => ({ ...row, body: secrets.open(RESULT_BODY, bodySealed) }));
}

/** Marks exactly these results as consumed, by primary key, and counts them at their hosts. */
export async function markProcessed(t: Transaction, reports: readonly UnprocessedReport[]): Promise<void> {
  if (reports.length === 0) return;
  const sorted = [...reports].sort((a, b) => a.enrollmentId - b.enrollmentId || a.commandId - b.commandId);
  const where = whereRows(
    ['enrollment_id', 'command_id'],
    sorted.map((report) => [report.enrollmentId, report.commandId]),
  );
  void t.run(`UPDATE command_results SET process_host_id = NULL WHERE ${where.sql}`, where.values);
  const counts = Map.groupBy(reports, (report) => report.hostId);
  const cases = [...counts].map(() => 'WHEN ? THEN ?').join(' ');
  await t.run(`UPDATE hosts SET reports_processed = reports_processed + CASE id ${cases} ELSE 0 END WHERE id IN (?)`, [
    ...[...counts].flatMap(([hostId, own]) => [hostId, own.length]),
    [...counts.keys()],
  ]);
}
