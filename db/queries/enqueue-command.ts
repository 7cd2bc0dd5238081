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

/**
 * Queues one command for enrollments: one row of `commands`, one narrow row of the queue each; all or nothing. A CommandUUID that exists makes the insert fail with
 * 1062 (isDuplicate), before anything else is written.
 * @param enrollmentIds internal ids, each once
 * @returns the command's id
 */
export async function insertCommand(
  t: Transaction,
  secrets: SecretBox,
  command: NewCommand,
  enrollmentIds: readonly number[],
): Promise<number> {
  const { insertId } = await t.run(
    'INSERT INTO commands (command_uuid, request_type, priority, origin, origin_id, renews_enrollment, body_sealed) VALUES (?, ?, ?, ?, ?, ?, ?)',
    [
      command.commandUuid,
      command.requestType,
      command.priority,
      command.origin,
      command.originId ?? null,
      command.renewsEnrollment ? 1 : 0,
      secrets.seal(COMMAND_BODY, command.body),
    ],
  );
  // Integers only, so the statement is put together by hand: a placeholder each costs more than the insert.
  const tail = `, ${Math.trunc(-command.priority)}, ${Math.trunc(insertId)})`;
  for (const batch of slices(
    [...enrollmentIds].sort((a, b) => a - b),
    QUEUE_BATCH,
  )) {
    void t.run(
      `INSERT INTO command_queue (enrollment_id, urgency, command_id) VALUES ${batch.map((id) => `(${Math.trunc(id)}${tail}`).join(', ')}`,
    );
  }
  return insertId;
}
