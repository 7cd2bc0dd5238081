import type { Executor } from '../connection.ts';

/** An enrollment as the device endpoints need it. Its facts never change while it exists. */
export interface Channel {
  readonly enrollmentId: number;
  readonly hostId: number;
  /** The device channel of the same host; the same number for a device channel. */
  readonly deviceId: number;
}

/** The channels of these (folded) enrollment keys. Primary use of the unique index `enrollment_key`. */
export async function readChannels(db: Executor, keys: readonly string[]): Promise<Map<string, Channel>> {
  if (keys.length === 0) return new Map();
  const rows = await db.rows<{ key: string; enrollmentId: number; hostId: number; deviceId: number }>(
    `SELECT e.enrollment_key AS \`key\`, e.id AS enrollmentId, e.host_id AS hostId, d.id AS deviceId
     FROM enrollments e JOIN enrollments d ON d.host_id = e.host_id AND d.is_device = 1
     WHERE e.enrollment_key IN (?)`,
    [keys],
  );
  return new Map(rows.map(({ key, ...channel }) => [key, channel]));
}

/** Which device each certificate hash (lower-case hex) belongs to. */
export async function readCertificateOwners(db: Executor, hashes: readonly string[]): Promise<Map<string, number>> {
  const rows = await db.rows<{ sha256: Buffer; enrollmentId: number }>(
    'SELECT sha256, enrollment_id AS enrollmentId FROM certificate_associations WHERE sha256 IN (?)',
    [hashes.map((hash) => Buffer.from(hash, 'hex'))],
  );
  return new Map(rows.map((row) => [row.sha256.toString('hex'), row.enrollmentId]));
}

/** What a refusal or renewal is decided from: rare, so read by itself. */
export async function readDeviceFacts(
  db: Executor,
  deviceId: number,
): Promise<{ hasCertificate: boolean; serialNumber: string | undefined }> {
  const [row] = await db.rows<{ hasCertificate: number; serialNumber: string | null }>(
    `SELECT h.serial_number AS serialNumber, EXISTS (SELECT 1 FROM certificate_associations a WHERE a.enrollment_id = e.id) AS hasCertificate
     FROM enrollments e JOIN hosts h ON h.id = e.host_id WHERE e.id = ?`,
    [deviceId],
  );
  return { hasCertificate: row?.hasCertificate === 1, serialNumber: row?.serialNumber ?? undefined };
}

export interface Association {
  readonly sha256: string;
  readonly deviceId: number;
  readonly certificate: Buffer;
  readonly notAfter: Date;
}

/** Binds certificates to devices; one that is bound already stays as it is. Who must know for sure reads the owner back. */
export async function associateCertificates(db: Executor, associations: readonly Association[]): Promise<void> {
  if (associations.length === 0) return;
  const sorted = [...associations].sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
  await db.run(
    `INSERT INTO certificate_associations (sha256, enrollment_id, certificate, not_after, associated_at)
     VALUES ${sorted.map(() => '(?, ?, ?, ?, NOW(6))').join(', ')} ON DUPLICATE KEY UPDATE sha256 = sha256`,
    sorted.flatMap((row) => [Buffer.from(row.sha256, 'hex'), row.deviceId, row.certificate, row.notAfter]),
  );
}
