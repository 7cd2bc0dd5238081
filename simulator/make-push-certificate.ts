/** A stand-in for what Apple's push certificate portal issues. */
import { randomBytes } from 'node:crypto';
import { writePem } from '../mdm/certificates/read-pem.ts';
import {
  publicKeyInfoOf,
  writeCertificate,
  writeExtendedKeyUsage,
  writeName,
  writeSubjectKeyIdentifier,
} from '../mdm/certificates/write-certificate.ts';
import { OID } from '../mdm/cms/oids.ts';
import { makeKeyPair } from './device-identity.ts';

const DAY_MS = 86_400_000;

/**
 * A self-signed certificate with `UID=<topic>` in its subject, followed by its private key, in PEM. A negative `days`
 * gives an expired one.
 */
export async function makePushCertificate(topic: string, days = 365): Promise<string> {
  const { privateKey, publicKey } = await makeKeyPair('rsa');
  const name = writeName([
    { type: OID.userId, value: topic },
    { type: OID.commonName, value: `APSP:${topic.replace(/^com\.apple\.mgmt\.External\./, '')}` },
  ]);
  const publicKeyInfo = publicKeyInfoOf(publicKey);
  const notAfter = new Date(Date.now() + days * DAY_MS);
  const der = await writeCertificate(
    {
      serialNumber: randomBytes(8),
      issuerName: name,
      subjectName: name,
      notBefore: new Date(Math.min(Date.now(), notAfter.getTime()) - DAY_MS),
      notAfter,
      publicKeyInfo,
      extensions: [writeExtendedKeyUsage(OID.clientAuth), writeSubjectKeyIdentifier(publicKeyInfo)],
    },
    privateKey,
  );
  return writePem('CERTIFICATE', der) + privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}
