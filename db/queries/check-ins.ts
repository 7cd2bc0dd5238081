import type { Executor } from '../connection.ts';
import type { SecretBox } from '../secret-box.ts';

export interface CheckInRow {
  readonly enrollmentId: number;
  readonly messageType: string;
  readonly body: Buffer;
}

const CHECK_IN_BODY = 'check_ins.body_sealed';

/** Keeps the last raw message of each type. Sealed: a TokenUpdate carries the unlock token. */
export async function upsertCheckIns(t: Executor, secrets: SecretBox, rows: readonly CheckInRow[]): Promise<void> {
  await t.run(
    `INSERT INTO check_ins (enrollment_id, message_type, received_at, body_sealed) VALUES ${rows.map(() => '(?, ?, NOW(6), ?)').join(', ')}
     ON DUPLICATE KEY UPDATE received_at = VALUES(received_at), body_sealed = VALUES(body_sealed)`,
    [...rows]
      .sort((a, b) => a.enrollmentId - b.enrollmentId)
      .flatMap((row) => [row.enrollmentId, row.messageType, secrets.seal(CHECK_IN_BODY, row.body)]),
  );
}

/** The raw bytes of the last message of a type, or undefined. */
export async function readCheckInBody(
  db: Executor,
  secrets: SecretBox,
  enrollmentId: number,
  messageType: string,
): Promise<Buffer | undefined> {
  const [row] = await db.rows<{ body: Buffer }>(
    'SELECT body_sealed AS body FROM check_ins WHERE enrollment_id = ? AND message_type = ?',
    [enrollmentId, messageType],
  );
  return row && secrets.open(CHECK_IN_BODY, row.body);
}

export type DeviceSecretName = 'bootstrap_token' | 'unlock_token';

const DEVICE_SECRET = 'device_secrets.value_sealed';

export interface DeviceSecretRow {
  readonly enrollmentId: number;
  readonly name: DeviceSecretName;
  readonly value: Buffer;
}

export async function storeDeviceSecrets(
  t: Executor,
  secrets: SecretBox,
  rows: readonly DeviceSecretRow[],
): Promise<void> {
  if (rows.length === 0) return;
  await t.run(
    `INSERT INTO device_secrets (enrollment_id, name, set_at, value_sealed) VALUES ${rows.map(() => '(?, ?, NOW(6), ?)').join(', ')}
     ON DUPLICATE KEY UPDATE set_at = VALUES(set_at), value_sealed = VALUES(value_sealed)`,
    [...rows]
      .sort((a, b) => a.enrollmentId - b.enrollmentId)
      .flatMap((row) => [row.enrollmentId, row.name, secrets.seal(DEVICE_SECRET, row.value)]),
  );
}

export async function forgetDeviceSecret(db: Executor, enrollmentId: number, name: DeviceSecretName): Promise<void> {
  await db.run('DELETE FROM device_secrets WHERE enrollment_id = ? AND name = ?', [enrollmentId, name]);
}

export async function readDeviceSecret(
  db: Executor,
  secrets: SecretBox,
  enrollmentId: number,
  name: DeviceSecretName,
): Promise<Buffer | undefined> {
  const [row] = await db.rows<{ value: Buffer }>(
    'SELECT value_sealed AS value FROM device_secrets WHERE enrollment_id = ? AND name = ?',
    [enrollmentId, name],
  );
  return row && secrets.open(DEVICE_SECRET, row.value);
}
