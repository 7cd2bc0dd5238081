import type { EnrollmentType } from '../../mdm/enrollment-id.ts';
import type { SecretBox } from '../secret-box.ts';
import type { Transaction } from '../transaction.ts';
import { type DeviceSecretRow, storeDeviceSecrets, upsertCheckIns } from './check-ins.ts';
import { upsertLastSeen } from './last-seen.ts';
import { endMistakenRenewals } from './record-authenticates.ts';

export interface TokenUpdateRow {
  /** The channel's id, where it is known already. */
  readonly channelId?: number | undefined;
  /** The host of the device channel, which has authenticated. */
  readonly hostId: number;
  readonly enrollmentKey: string;
  readonly enrollmentId: string;
  readonly isDevice: boolean;
  readonly type: EnrollmentType;
  readonly userShortName: string | undefined;
  readonly userLongName: string | undefined;
  readonly topic: string;
  readonly pushMagic: string;
  readonly token: Buffer;
  readonly unlockToken: Buffer | undefined;
  /** The device sits in Setup Assistant: this enrollment is not a renewal. */
  readonly isAwaitingConfiguration: boolean;
  readonly body: Buffer;
}

/**
 * Records TokenUpdates, one per channel in a batch: the channel is enabled, its tally counts up (1 = an enrollment was completed), push data is replaced. Channels with
 * commands waiting are owed a push: they may have been queued while the token was dead.
 */
export async function recordTokenUpdates(
  t: Transaction,
  secrets: SecretBox,
  rows: readonly TokenUpdateRow[],
): Promise<void> {
  const sorted = [...rows].sort((a, b) => (a.enrollmentKey < b.enrollmentKey ? -1 : 1));
  await endMistakenRenewals(
    t,
    sorted.filter((row) => row.isDevice && row.isAwaitingConfiguration).map((row) => row.enrollmentKey),
  );
  t.leave(enableChannels(t, sorted));
  const unnamed = sorted.filter((row) => row.channelId === undefined);
  const idOf = unnamed.length > 0 ? await readIds(t, unnamed) : new Map<string, number>();
  const withIds = sorted
    .map((row) => ({ ...row, id: row.channelId ?? idOf.get(row.enrollmentKey) ?? 0 }))
    .sort((a, b) => a.id - b.id);
  t.leave(upsertPushTokens(t, withIds));
  const checkIns = withIds.map((row) => ({ enrollmentId: row.id, messageType: 'TokenUpdate', body: row.body }));
  t.leave(upsertCheckIns(t, secrets, checkIns));
  t.leave(storeDeviceSecrets(t, secrets, unlockTokens(withIds)));
  const ids = withIds.map((row) => row.id);
  t.leave(upsertLastSeen(t, ids));
  const waiting = await t.rows<{ id: number }>(
    'SELECT DISTINCT enrollment_id AS id FROM command_queue WHERE enrollment_id IN (?)',
    [ids],
  );
  t.owe(
    'push.send',
    waiting.map((row) => String(row.id)),
  );
}

/** An unlock token belongs to the device (nanomdm §1.3); missing means "keep the old one". */
const unlockTokens = (rows: readonly (TokenUpdateRow & { id: number })[]): DeviceSecretRow[] =>
  rows.flatMap(({ id, isDevice, unlockToken }) =>
    isDevice && unlockToken?.length ? [{ enrollmentId: id, name: 'unlock_token', value: unlockToken }] : [],
  );

async function enableChannels(t: Transaction, rows: readonly TokenUpdateRow[]): Promise<void> {
  await t.run(
    `INSERT INTO enrollments (host_id, enrollment_key, enrollment_id, is_device, type, user_short_name, user_long_name, enabled, token_update_tally, enrolled_at)
     VALUES ${rows.map(() => '(?, ?, ?, ?, ?, ?, ?, 1, 1, NOW(6))').join(', ')}
     ON DUPLICATE KEY UPDATE enabled = 1, token_update_tally = token_update_tally + 1, type = VALUES(type),
       enrolled_at = IF(token_update_tally = 1, VALUES(enrolled_at), enrolled_at),
       user_short_name = COALESCE(VALUES(user_short_name), user_short_name), user_long_name = COALESCE(VALUES(user_long_name), user_long_name)`,
    rows.flatMap((row) => [
      row.hostId,
      row.enrollmentKey,
      row.enrollmentId,
      row.isDevice ? 1 : 0,
      row.type,
      row.userShortName?.slice(0, 255) || null,
      row.userLongName?.slice(0, 255) || null,
    ]),
  );
}

async function readIds(t: Transaction, rows: readonly TokenUpdateRow[]): Promise<Map<string, number>> {
  const found = await t.rows<{ id: number; key: string }>(
    'SELECT id, enrollment_key AS `key` FROM enrollments WHERE enrollment_key IN (?)',
    [rows.map((row) => row.enrollmentKey)],
  );
  return new Map(found.map((row) => [row.key, row.id]));
}

/** A token that changed is alive again, whatever APNs said of the former one. */
async function upsertPushTokens(t: Transaction, rows: readonly (TokenUpdateRow & { id: number })[]): Promise<void> {
  await t.run(
    `INSERT INTO push_tokens (enrollment_id, topic, push_magic, token, updated_at) VALUES ${rows.map(() => '(?, ?, ?, ?, NOW(6))').join(', ')}
     ON DUPLICATE KEY UPDATE topic = VALUES(topic), push_magic = VALUES(push_magic), token = VALUES(token), updated_at = VALUES(updated_at), dead_at = NULL`,
    rows.flatMap((row) => [row.id, row.topic, row.pushMagic, row.token]),
  );
}
