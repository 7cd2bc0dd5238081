import type { Origin } from '../../domain/reports/consumers.ts';
import { slices } from '../outbox.ts';
import type { SecretBox } from '../secret-box.ts';
import type { Transaction } from '../transaction.ts';

export interface NewCommand {
  readonly commandUuid: string;
  readonly requestType: string;
  readonly renewsEnrollment: boolean;
  readonly priority: number;
  readonly origin: Origin;
  readonly originId: string | undefined;
  /** The plist, exactly as devices will get it. */
  readonly body: Buffer;
}

/** Ids that are not enrolled: nothing was queued for anybody. */
export class UnknownEnrollments extends Error {
  readonly ids: readonly string[];

  constructor(ids: readonly string[]) {
    super(`not enrolled: ${ids.slice(0, 10).join(', ')}${ids.length > 10 ? ` and ${ids.length - 10} more` : ''}`);
    this.ids = ids;
  }
}

export const COMMAND_BODY = 'commands.body_sealed';
const RESOLVE_BATCH = 5_000;
const QUEUE_BATCH = 5_000;

/** A person's request goes before automation (DESIGN §7); NanoMDM's API knows only 0. */
export const API_PRIORITY = 0;

/** Enrollments that have push data, by folded key. A channel without it has not finished enrolling and cannot be sent commands. */
export async function readEnrolledIds(t: Transaction, keys: readonly string[]): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const batch of slices(keys, RESOLVE_BATCH)) {
    const rows = await t.rows<{ id: number; key: string }>(
      'SELECT e.id, e.enrollment_key AS `key` FROM enrollments e JOIN push_tokens p ON p.enrollment_id = e.id WHERE e.enrollment_key IN (?)',
      [batch],
    );
    for (const row of rows) found.set(row.key, row.id);
  }
  return found;
}

/** A command and the internal ids of those who are to get it, each once. */
export interface Enqueueing {
  readonly command: NewCommand;
  readonly enrollmentIds: readonly number[];
}

/**
 * Queues commands for enrollments: one row of `commands` each, one narrow row of the queue for each who gets it; all or nothing. They leave in the order in which they are
 * given. A CommandUUID that exists makes the insert fail with 1062 (isDuplicate), before anything else is written. All statements are issued at once.
 * @returns the id of the first command
 */
export async function insertCommands(
  t: Transaction,
  secrets: SecretBox,
  enqueueings: readonly Enqueueing[],
): Promise<number> {
  if (enqueueings.length === 0) return 0;
  const inserted = t.run(
    `INSERT INTO commands (command_uuid, request_type, priority, origin, origin_id, renews_enrollment, body_sealed)
     VALUES ${enqueueings.map(() => '(?, ?, ?, ?, ?, ?, ?)').join(', ')}`,
    enqueueings.flatMap(({ command }) => valuesOf(command, secrets)),
  );
  insertQueueRows(t, enqueueings);
  return (await inserted).insertId;
}

const COMMAND_ID = '(SELECT id FROM commands WHERE command_uuid = ?)';

const valuesOf = (command: NewCommand, secrets: SecretBox): unknown[] => [
  command.commandUuid,
  command.requestType,
  command.priority,
  command.origin,
  command.originId ?? null,
  command.renewsEnrollment ? 1 : 0,
  secrets.seal(COMMAND_BODY, command.body),
];

/** The server knows the id of the one command that was just inserted; those of several it looks up, which is for the few rows of gathered calls. */
function insertQueueRows(t: Transaction, enqueueings: readonly Enqueueing[]): void {
  const isSingle = enqueueings.length === 1;
  const rows = enqueueings.flatMap(({ command, enrollmentIds }) => {
    // Integers are written by hand: a placeholder each costs more than the insert.
    const tail = `, ${Math.trunc(-command.priority)}, ${isSingle ? 'LAST_INSERT_ID()' : COMMAND_ID})`;
    return enrollmentIds.map((id) => ({ id, sql: `(${Math.trunc(id)}${tail}`, uuid: command.commandUuid }));
  });
  rows.sort((a, b) => a.id - b.id);
  for (const batch of slices(rows, QUEUE_BATCH)) {
    void t.run(
      `INSERT INTO command_queue (enrollment_id, urgency, command_id) VALUES ${batch.map(({ sql }) => sql).join(', ')}`,
      isSingle ? [] : batch.map(({ uuid }) => uuid),
    );
  }
}

/** One command, see insertCommands. @returns its id */
export function insertCommand(
  t: Transaction,
  secrets: SecretBox,
  command: NewCommand,
  enrollmentIds: readonly number[],
): Promise<number> {
  return insertCommands(t, secrets, [{ command, enrollmentIds }]);
}
