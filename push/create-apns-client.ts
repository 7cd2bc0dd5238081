import { readFileSync } from 'node:fs';
import type { Environment } from '../config/env.ts';
import type { Db } from '../db/db.ts';
import { readPushCertificateOf } from '../db/queries/push-certificates.ts';
import { ApnsClient, type PushCertificate } from './apns-client.ts';

/** The APNs client of a process: certificates from the database, Apple's address or the configured one. */
export function createApnsClient(environment: Pick<Environment, 'APNS_URL' | 'APNS_CA_FILE'>, db: Db): ApnsClient {
  const defaultCaPem = environment.APNS_CA_FILE === '' ? undefined : readFileSync(environment.APNS_CA_FILE, 'utf8');
  return new ApnsClient({
    defaultUrl: environment.APNS_URL,
    async certificateFor(topic): Promise<PushCertificate | undefined> {
      const stored = await readPushCertificateOf(db, db.secrets, topic);
      if (stored === undefined) return undefined;
      const { certificatePem, privateKeyPem, version, url } = stored;
      const caPem = stored.caPem ?? (url === undefined ? defaultCaPem : undefined);
      return {
        topic,
        certificatePem,
        privateKeyPem,
        version,
        ...(url !== undefined && { url }),
        ...(caPem !== undefined && { caPem }),
      };
    },
  });
}
