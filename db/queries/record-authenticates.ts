import type { DeviceDescription } from '../../mdm/check-in.ts';
import type { EnrollmentType } from '../../mdm/enrollment-id.ts';
import type { SecretBox } from '../secret-box.ts';
import type { Transaction } from '../transaction.ts';
import { associateCertificates, type Channel, readCertificateOwners } from './channels.ts';
import { type CheckInRow, upsertCheckIns } from './check-ins.ts';
import { clearQueues } from './clear-queues.ts';
import { descriptionValues } from './hosts.ts';

export interface AuthenticateRow {
  readonly enrollmentKey: string;
  readonly enrollmentId: string;
  readonly type: EnrollmentType;
  readonly udid: string | undefined;
  readonly device: DeviceDescription;
  /** Keep queue, secrets and enrollment: the device only renewed its certificate. */
  readonly isRenewal: boolean;
  /** Missing for a migration. */
  readonly certificate: { readonly sha256: string; readonly der: Buffer; readonly notAfter: Date } | undefined;
  readonly body: Buffer;
}

/** Another device got hold of the certificate between the decision and the commit. */
export class CertificateTaken extends Error {}

/**
 * Records Authenticate messages, one per device in a batch: host and device channel, certificate association, raw message. A new or repeated enrollment
 * disables all channels of the host, clears their queues and forgets bootstrap and unlock tokens (nanomdm §1.3). Running it twice ends in the same rows.
 * @returns the device channels, in the order of the rows
 * @throws CertificateTaken
 */
export async function recordAuthenticates(
  t: Transaction,
  secrets: SecretBox,
  rows: readonly AuthenticateRow[],
): Promise<Channel[]> {
  const sorted = [...rows].sort((a, b) => (a.enrollmentKey < b.enrollmentKey ? -1 : 1));
  const known = readHosts(t, sorted);
  t.leave(upsertHosts(t, sorted));
  t.leave(upsertDeviceChannels(t, sorted));
  const devices = await readDevices(t, sorted);
  const former = await known;
  const fresh = sorted.filter((row) => !row.isRenewal);
  const hostIds = fresh.flatMap((row) => former.get(row.enrollmentKey) ?? []);
  if (hostIds.length > 0) await endFormerEnrollments(t, hostIds);
  const checkIns = sorted.map(
    (row): CheckInRow => ({
      enrollmentId: devices.get(row.enrollmentKey)?.deviceId ?? 0,
      messageType: 'Authenticate',
      body: row.body,
    }),
  );
  t.leave(upsertCheckIns(t, secrets, checkIns));
  await associate(t, sorted, devices);
  return rows.map(({ enrollmentKey }) => devices.get(enrollmentKey) ?? NO_CHANNEL);
}

/** Stands for a row that was just written and cannot be missing. */
const NO_CHANNEL: Channel = { enrollmentId: 0, hostId: 0, deviceId: 0 };

async function readHosts(t: Transaction, rows: readonly AuthenticateRow[]): Promise<Map<string, number>> {
  const found = await t.rows<{ id: number; key: string }>(
    'SELECT id, host_key AS `key` FROM hosts WHERE host_key IN (?)',
    [rows.map((row) => row.enrollmentKey)],
  );
  return new Map(found.map((row) => [row.key, row.id]));
}

async function upsertHosts(t: Transaction, rows: readonly AuthenticateRow[]): Promise<void> {
  await t.run(
    `INSERT INTO hosts (host_key, udid, serial_number, device_name, model, model_name, product_name, os_version, build_version)
     VALUES ${rows.map(() => '(?, ?, ?, ?, ?, ?, ?, ?, ?)').join(', ')}
     ON DUPLICATE KEY UPDATE serial_number = VALUES(serial_number), device_name = VALUES(device_name), model = VALUES(model),
       model_name = VALUES(model_name), product_name = VALUES(product_name), os_version = VALUES(os_version), build_version = VALUES(build_version)`,
    rows.flatMap((row) => [row.enrollmentKey, row.udid ?? null, ...descriptionValues(row.device)]),
  );
}

/** Asks for the host's id in the statement itself: it need not be known here before. */
async function upsertDeviceChannels(t: Transaction, rows: readonly AuthenticateRow[]): Promise<void> {
  await t.run(
    `INSERT INTO enrollments (host_id, enrollment_key, enrollment_id, is_device, type, authenticated_at)
     VALUES ${rows.map(() => '((SELECT id FROM hosts WHERE host_key = ?), ?, ?, 1, ?, NOW(6))').join(', ')}
     ON DUPLICATE KEY UPDATE type = VALUES(type), authenticated_at = VALUES(authenticated_at)`,
    rows.flatMap((row) => [row.enrollmentKey, row.enrollmentKey, row.enrollmentId, row.type]),
  );
}

/** Ends the former enrollment of these hosts and forgets what it left. Channel ids are read without locks and written in ascending order. */
async function endFormerEnrollments(t: Transaction, hostIds: readonly number[]): Promise<void> {
  const channels = (
    await t.rows<{ id: number }>('SELECT id FROM enrollments WHERE host_id IN (?) ORDER BY id', [hostIds])
  ).map((row) => row.id);
  if (channels.length === 0) return;
  await t.run(
    'UPDATE enrollments SET enabled = 0, token_update_tally = 0, disabled_at = IF(enabled = 1, NOW(6), disabled_at) WHERE id IN (?)',
    [channels],
  );
  await clearQueues(t, channels);
  // A renewal that turns out to be an enrollment is ended late: what the device has set since its Authenticate is of the new one.
  await t.run(
    `DELETE s FROM device_secrets s JOIN enrollments e ON e.id = s.enrollment_id
     WHERE s.enrollment_id IN (?) AND (e.is_device = 0 OR s.set_at <= e.authenticated_at)`,
    [channels],
  );
}

/**
 * Devices in Setup Assistant whose Authenticate was taken for a renewal were erased: they say so only in the TokenUpdate (apple-protocols §1.5, nanomdm §9.3).
 * Their former enrollment ends now. One whose enrollment ended at its Authenticate is disabled until its TokenUpdate, and one that has sent a TokenUpdate
 * since is not looked at again.
 */
export async function endMistakenRenewals(t: Transaction, enrollmentKeys: readonly string[]): Promise<void> {
  if (enrollmentKeys.length === 0) return;
  const rows = await t.rows<{ hostId: number }>(
    `SELECT e.host_id AS hostId FROM enrollments e JOIN check_ins c ON c.enrollment_id = e.id AND c.message_type = 'TokenUpdate'
     WHERE e.enrollment_key IN (?) AND e.is_device = 1 AND e.enabled = 1 AND c.received_at < e.authenticated_at`,
    [enrollmentKeys],
  );
  if (rows.length > 0)
    await endFormerEnrollments(
      t,
      rows.map((row) => row.hostId),
    );
}

async function readDevices(t: Transaction, rows: readonly AuthenticateRow[]): Promise<Map<string, Channel>> {
  const found = await t.rows<{ id: number; hostId: number; key: string }>(
    'SELECT id, host_id AS hostId, enrollment_key AS `key` FROM enrollments WHERE enrollment_key IN (?)',
    [rows.map((row) => row.enrollmentKey)],
  );
  return new Map(found.map(({ id, hostId, key }) => [key, { enrollmentId: id, hostId, deviceId: id }]));
}

async function associate(
  t: Transaction,
  rows: readonly AuthenticateRow[],
  devices: ReadonlyMap<string, Channel>,
): Promise<void> {
  const wanted = rows.flatMap(({ enrollmentKey, certificate }) =>
    certificate === undefined
      ? []
      : [
          {
            sha256: certificate.sha256,
            deviceId: devices.get(enrollmentKey)?.deviceId ?? 0,
            certificate: certificate.der,
            notAfter: certificate.notAfter,
          },
        ],
  );
  if (wanted.length === 0) return;
  t.leave(associateCertificates(t, wanted));
  const owners = await readCertificateOwners(
    t,
    wanted.map((association) => association.sha256),
  );
  if (wanted.some((association) => owners.get(association.sha256) !== association.deviceId))
    throw new CertificateTaken('cert re-use not permitted');
}
