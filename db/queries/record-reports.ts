import { consumersOf } from '../../domain/reports/consumers.ts';
import type { SecretBox } from '../secret-box.ts';
import type { Transaction } from '../transaction.ts';
import { whereRows } from './where-rows.ts';

export interface ReportRow {
  readonly enrollmentId: number;
  readonly hostId: number;
  readonly commandUuid: string;
  readonly status: string;
  readonly isFinal: boolean;
  readonly body: Buffer;
}

/** What never changes of a command, and decides what becomes of a report on it. */
export interface CommandFacts {
  readonly id: number;
  readonly priority: number;
  readonly requestType: string;
}

interface KnownReport extends ReportRow {
  readonly commandId: number;
  readonly urgency: number;
  readonly processHostId: number | null;
}

export const RESULT_BODY = 'command_results.body_sealed';

/**
 * Records what devices answered, at most one report per (enrollment, command) in a batch. A final report takes the command out of the queue; NotNow marks it;
 * a command that has ended keeps its first final result (DESIGN, invariant 5). Reports that somebody consumes owe `report.process` for their host.
 * Running it twice changes nothing the second time.
 * @param recall commands that the caller knows; with all of them known, everything is one round trip
 * @returns for each report whether its CommandUUID is known
 */
export async function recordReports(
  t: Transaction,
  secrets: SecretBox,
  reports: readonly ReportRow[],
  recall: (commandUuid: string) => CommandFacts | undefined = () => undefined,
): Promise<boolean[]> {
  const commands = await readCommands(t, reports, recall);
  const known = reports.flatMap((report): KnownReport[] => {
    const command = commands.get(report.commandUuid);
    if (command === undefined) return [];
    const isConsumed = report.isFinal && consumersOf(command.requestType).length > 0;
    return [
      {
        ...report,
        commandId: command.id,
        urgency: -command.priority,
        processHostId: isConsumed ? report.hostId : null,
      },
    ];
  });
  known.sort((a, b) => a.enrollmentId - b.enrollmentId || a.urgency - b.urgency || a.commandId - b.commandId);
  if (known.length > 0) {
    updateQueue(t, known);
    upsertResults(t, secrets, known);
  }
  t.owe(
    'report.process',
    known.flatMap((report) => (report.processHostId === null ? [] : [String(report.processHostId)])),
  );
  return reports.map((report) => commands.has(report.commandUuid));
}

async function readCommands(
  t: Transaction,
  reports: readonly ReportRow[],
  recall: (commandUuid: string) => CommandFacts | undefined,
): Promise<Map<string, CommandFacts>> {
  const commands = new Map<string, CommandFacts>();
  const missing = new Set<string>();
  for (const { commandUuid } of reports) {
    const command = recall(commandUuid);
    if (command === undefined) missing.add(commandUuid);
    else commands.set(commandUuid, command);
  }
  if (missing.size === 0) return commands;
  const rows = await t.rows<CommandFacts & { uuid: string }>(
    'SELECT id, command_uuid AS uuid, priority, request_type AS requestType FROM commands WHERE command_uuid IN (?)',
    [[...missing]],
  );
  for (const row of rows) commands.set(row.uuid, row);
  return commands;
}

const QUEUE_KEY = ['enrollment_id', 'urgency', 'command_id'];
const queueKey = (report: KnownReport): number[] => [report.enrollmentId, report.urgency, report.commandId];

/** The queue before the results: the order in which Authenticate locks them too. */
function updateQueue(t: Transaction, reports: readonly KnownReport[]): void {
  const ended = reports.filter((report) => report.isFinal).map(queueKey);
  if (ended.length > 0) {
    const where = whereRows(QUEUE_KEY, ended);
    void t.run(`DELETE FROM command_queue WHERE ${where.sql}`, where.values);
  }
  const putOff = reports.filter((report) => !report.isFinal).map(queueKey);
  if (putOff.length > 0) {
    const where = whereRows(QUEUE_KEY, putOff);
    void t.run(`UPDATE command_queue SET is_not_now = 1 WHERE ${where.sql}`, where.values);
  }
}

/** Assignments run left to right: `ended_at` last, because the others ask whether the command had ended before. */
function upsertResults(t: Transaction, secrets: SecretBox, reports: readonly KnownReport[]): void {
  void t.run(
    `INSERT INTO command_results
       (enrollment_id, command_id, status, received_at, not_now_at, not_now_tally, process_host_id, body_sealed, ended_at)
     VALUES ${reports.map((report) => `(?, ?, ?, NOW(6), ${report.isFinal ? 'NULL, 0' : 'NOW(6), 1'}, ?, ?, ${report.isFinal ? 'NOW(6)' : 'NULL'})`).join(', ')}
     ON DUPLICATE KEY UPDATE
       status = IF(ended_at IS NULL, VALUES(status), status),
       received_at = IF(ended_at IS NULL, VALUES(received_at), received_at),
       body_sealed = IF(ended_at IS NULL, VALUES(body_sealed), body_sealed),
       process_host_id = IF(ended_at IS NULL, VALUES(process_host_id), process_host_id),
       not_now_at = IF(ended_at IS NULL, COALESCE(not_now_at, VALUES(not_now_at)), not_now_at),
       not_now_tally = not_now_tally + IF(ended_at IS NULL, VALUES(not_now_tally), 0),
       ended_at = COALESCE(ended_at, VALUES(ended_at))`,
    reports.flatMap((report) => [
      report.enrollmentId,
      report.commandId,
      report.status,
      report.processHostId,
      secrets.seal(RESULT_BODY, report.body),
    ]),
  );
}
