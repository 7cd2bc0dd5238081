import { expect } from 'vitest';
import type { Db } from '../../db/db.ts';
import { PERIODIC_KINDS } from '../../domain/job-kinds.ts';
import type { CommandRecord, Ledger } from '../../simulator/ledger.ts';
import { waitFor } from './wait-for.ts';

/** What was asked: each CommandUUID, and the enrollments that were to get it. */
export type Asked = ReadonlyMap<string, readonly string[]>;

interface ResultRow {
  readonly enrollmentId: string;
  readonly commandUUID: string;
  readonly requestType: string;
  readonly status: string | null;
  readonly hasEnded: number;
  readonly isUnprocessed: number;
}

const nameOf = (enrollmentId: string, commandUUID: string): string => `${commandUUID} @ ${enrollmentId}`;

const readResultRows = (db: Db): Promise<ResultRow[]> =>
  db.rows<ResultRow>(
    `SELECT e.enrollment_id AS enrollmentId, c.command_uuid AS commandUUID, c.request_type AS requestType, r.status,
       r.ended_at IS NOT NULL AS hasEnded, r.process_host_id IS NOT NULL AS isUnprocessed
     FROM command_results r JOIN commands c ON c.id = r.command_id JOIN enrollments e ON e.id = r.enrollment_id`,
  );

/** Resolves when nothing waits for a device and nothing but alarms is owed. */
export const waitUntilSettled = (db: Db, withinMs: number): Promise<unknown> =>
  waitFor(
    'every command to be answered and every debt to be settled',
    async () => {
      const [counts] = await db.rows<{ queued: number; owed: number }>(
        `SELECT (SELECT COUNT(*) FROM command_queue) AS queued, (SELECT COUNT(*) FROM outbox WHERE kind NOT IN (?)) AS owed`,
        [[...PERIODIC_KINDS]],
      );
      if (counts?.queued === 0 && counts.owed === 0) return true;
      throw new Error(`${counts?.queued} queued, ${counts?.owed} owed`);
    },
    withinMs,
  );

/**
 * Compares what was asked, what the devices saw and what the database holds: nothing lost, nothing done twice, nothing that one knows and another does not.
 * To be called when everything is settled.
 */
export async function expectBooksToAgree(db: Db, ledger: Ledger, asked: Asked): Promise<void> {
  const rows = await readResultRows(db);
  const wanted = [...asked].flatMap(([uuid, ids]) => ids.map((id) => nameOf(id, uuid))).sort();
  expect(rows.map((row) => nameOf(row.enrollmentId, row.commandUUID)).sort()).toEqual(wanted);
  expect(rows.filter((row) => row.hasEnded === 0 || row.isUnprocessed === 1)).toEqual([]);
  const records = new Map(ledger.commands().map((record) => [nameOf(record.enrollmentId, record.commandUUID), record]));
  expect([...records.keys()].sort()).toEqual(wanted);
  const disagreeing = rows.filter((row) => !agrees(row, records.get(nameOf(row.enrollmentId, row.commandUUID))));
  expect(disagreeing).toEqual([]);
  expect(await db.rows('SELECT kind, `key` FROM outbox WHERE kind NOT IN (?)', [[...PERIODIC_KINDS]])).toEqual([]);
  expect(await db.rows('SELECT kind, `key`, last_error FROM outbox WHERE failed_at IS NOT NULL')).toEqual([]);
  await expectInventoryOnce(db);
}

/** Carried out once, and the status in the database is one that the server was told and accepted. */
const agrees = (row: ResultRow, record: CommandRecord | undefined): boolean =>
  record?.executed === 1 &&
  record.answers.some(({ status, httpStatus }) => status === row.status && httpStatus === 200) &&
  record.answers.every(({ status }) => status === row.status || status === 'NotNow');

/** Each DeviceInformation result was counted at its host once, by report.process. */
async function expectInventoryOnce(db: Db): Promise<void> {
  const hosts = await db.rows<{ id: number; processed: number; results: number; answered: number; inventory: number }>(
    `SELECT h.id, h.reports_processed AS processed, COUNT(c.id) AS results,
       CAST(COALESCE(SUM(c.id IS NOT NULL AND r.status = 'Acknowledged'), 0) AS DOUBLE) AS answered, h.inventory_at IS NOT NULL AS inventory
     FROM hosts h JOIN enrollments e ON e.host_id = h.id LEFT JOIN command_results r ON r.enrollment_id = e.id
     LEFT JOIN commands c ON c.id = r.command_id AND c.request_type = 'DeviceInformation' GROUP BY h.id`,
  );
  expect(hosts.filter((host) => host.processed !== host.results)).toEqual([]);
  expect(hosts.filter((host) => host.answered > 0 !== (host.inventory === 1))).toEqual([]);
}
