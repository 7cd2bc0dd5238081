import type { Executor } from './connection.ts';

export interface Finding {
  readonly invariant: string;
  /** What a healthy database never has. */
  readonly meaning: string;
  readonly count: number;
  /** A few of the rows, to look at. */
  readonly examples: readonly object[];
}

interface Invariant {
  readonly name: string;
  readonly meaning: string;
  /** Selects the rows that break it. */
  readonly sql: string;
}

/** Reports whose consumer has not run and is not owed. The consumer is found by host. */
const INVARIANTS: readonly Invariant[] = [
  {
    name: 'report-owed',
    meaning: 'a result waits for report.process, but no row owes it',
    sql: `SELECT r.enrollment_id, r.command_id, r.process_host_id FROM command_results r
          WHERE r.process_host_id IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM outbox o WHERE o.kind = 'report.process' AND o.\`key\` = CAST(r.process_host_id AS CHAR CHARACTER SET ascii) COLLATE ascii_bin)`,
  },
  {
    name: 'ended-not-queued',
    meaning: 'a command is in the queue of an enrollment that has ended it',
    sql: `SELECT q.enrollment_id, q.command_id FROM command_queue q
          JOIN command_results r ON r.enrollment_id = q.enrollment_id AND r.command_id = q.command_id
          WHERE r.ended_at IS NOT NULL OR r.cleared_at IS NOT NULL`,
  },
  {
    name: 'queue-orphan',
    meaning: 'a queue row without its command or enrollment',
    sql: `SELECT q.enrollment_id, q.command_id FROM command_queue q
          LEFT JOIN commands c ON c.id = q.command_id LEFT JOIN enrollments e ON e.id = q.enrollment_id
          WHERE c.id IS NULL OR e.id IS NULL`,
  },
  {
    name: 'result-orphan',
    meaning: 'a result without its command or enrollment',
    sql: `SELECT r.enrollment_id, r.command_id FROM command_results r
          LEFT JOIN commands c ON c.id = r.command_id LEFT JOIN enrollments e ON e.id = r.enrollment_id
          WHERE c.id IS NULL OR e.id IS NULL`,
  },
  {
    name: 'queue-urgency',
    meaning: "a queue row whose urgency is not its command's priority",
    sql: 'SELECT q.enrollment_id, q.command_id FROM command_queue q JOIN commands c ON c.id = q.command_id WHERE q.urgency <> -c.priority',
  },
  {
    name: 'not-now-agrees',
    meaning: 'queue and result disagree on whether the last answer was NotNow',
    sql: `SELECT q.enrollment_id, q.command_id FROM command_queue q
          LEFT JOIN command_results r ON r.enrollment_id = q.enrollment_id AND r.command_id = q.command_id
          WHERE q.is_not_now <> COALESCE(r.status = 'NotNow', 0)`,
  },
  {
    name: 'parent-device',
    meaning: 'a user channel whose host has no device channel',
    sql: `SELECT e.id FROM enrollments e WHERE e.is_device = 0
          AND NOT EXISTS (SELECT 1 FROM enrollments d WHERE d.host_id = e.host_id AND d.is_device = 1)`,
  },
  {
    name: 'enabled-has-token',
    meaning: 'an enabled enrollment that cannot be pushed to',
    sql: 'SELECT e.id FROM enrollments e LEFT JOIN push_tokens p ON p.enrollment_id = e.id WHERE e.enabled = 1 AND p.enrollment_id IS NULL',
  },
  {
    name: 'tally',
    meaning: 'an enabled enrollment without a TokenUpdate, or a disabled one that counts some',
    sql: 'SELECT id FROM enrollments WHERE (enabled = 1) <> (token_update_tally > 0)',
  },
  {
    name: 'outbox-look',
    meaning: 'a row that is neither failed nor ever looked at, or failed and still looked at',
    sql: 'SELECT kind, `key` FROM outbox WHERE (failed_at IS NULL) = (look_at IS NULL)',
  },
];

const EXAMPLES = 5;

/** Examines the whole database. @returns what is broken; empty when all is well. Reads only; each invariant is one statement and so one consistent view. */
export async function runDoctor(db: Executor): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, meaning, sql } of INVARIANTS) {
    const [total] = await db.rows<{ count: number }>(`SELECT COUNT(*) AS count FROM (${sql}) broken`);
    if (total === undefined || total.count === 0) continue;
    findings.push({
      invariant: name,
      meaning,
      count: total.count,
      examples: await db.rows(`${sql} LIMIT ${EXAMPLES}`),
    });
  }
  return findings;
}

export const INVARIANT_COUNT = INVARIANTS.length;
