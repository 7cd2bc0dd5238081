import type { Executor } from '../connection.ts';
import type { SecretBox } from '../secret-box.ts';

const KEY = 'push_certs.key_sealed';

export interface StoredPushCertificate {
  readonly topic: string;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  readonly notAfter: Date;
  /** Counts up each time the topic's certificate or route is stored, in any process. */
  readonly version: string;
  /** Where this topic's pushes go, when not to Apple. */
  readonly url: string | undefined;
  readonly caPem: string | undefined;
}

/** Stores or replaces a topic's push certificate. */
export async function storePushCertificate(
  db: Executor,
  secrets: SecretBox,
  certificate: { topic: string; certificatePem: string; privateKeyPem: string; notAfter: Date },
): Promise<void> {
  await db.run(
    `INSERT INTO push_certs (topic, certificate_pem, key_sealed, not_after, updated_at) VALUES (?, ?, ?, ?, NOW(6))
     ON DUPLICATE KEY UPDATE certificate_pem = VALUES(certificate_pem), key_sealed = VALUES(key_sealed), not_after = VALUES(not_after),
       version = version + 1, updated_at = VALUES(updated_at)`,
    [
      certificate.topic,
      certificate.certificatePem,
      secrets.seal(KEY, Buffer.from(certificate.privateKeyPem)),
      certificate.notAfter,
    ],
  );
}

/** Comparing an ASCII column with any other text is an error of the database (1267), not a row that is not found. */
const canBeTopic = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

export async function readPushCertificateOf(
  db: Executor,
  secrets: SecretBox,
  topic: string,
): Promise<StoredPushCertificate | undefined> {
  if (!canBeTopic(topic)) return undefined;
  const [row] = await db.rows<{
    certificatePem: string;
    keySealed: Buffer;
    notAfter: Date;
    version: number;
    url: string | null;
    caPem: string | null;
    routedAt: Date | null;
  }>(
    `SELECT c.certificate_pem AS certificatePem, c.key_sealed AS keySealed, c.not_after AS notAfter, c.version, r.url, r.ca_pem AS caPem, r.updated_at AS routedAt
     FROM push_certs c LEFT JOIN apns_routes r ON r.topic = c.topic WHERE c.topic = ?`,
    [topic],
  );
  return (
    row && {
      topic,
      certificatePem: row.certificatePem,
      privateKeyPem: secrets.open(KEY, row.keySealed).toString(),
      notAfter: row.notAfter,
      version: `${row.version}.${row.routedAt?.getTime() ?? 0}`,
      url: row.url ?? undefined,
      caPem: row.caPem ?? undefined,
    }
  );
}

/** Sends a topic's pushes somewhere else than to Apple: a simulator, a proxy. */
export async function storeApnsRoute(
  db: Executor,
  route: { topic: string; url: string; caPem: string | undefined },
): Promise<void> {
  await db.run(
    `INSERT INTO apns_routes (topic, url, ca_pem, updated_at) VALUES (?, ?, ?, NOW(6))
     ON DUPLICATE KEY UPDATE url = VALUES(url), ca_pem = VALUES(ca_pem), updated_at = VALUES(updated_at)`,
    [route.topic, route.url, route.caPem ?? null],
  );
}

/** @returns whether there was one */
export const deleteApnsRoute = async (db: Executor, topic: string): Promise<boolean> =>
  canBeTopic(topic) && (await db.run('DELETE FROM apns_routes WHERE topic = ?', [topic])).affectedRows === 1;
