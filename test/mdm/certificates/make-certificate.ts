/** Certificates of every shape for the tests, signed with keys made once per process. */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { type DeviceCertificate, readCertificate } from '../../../mdm/certificates/read-certificate.ts';
import type { NameAttribute } from '../../../mdm/certificates/read-name.ts';
import { writePem } from '../../../mdm/certificates/read-pem.ts';
import {
  keyIdentifierOf,
  publicKeyInfoOf,
  writeAuthorityKeyIdentifier,
  writeCertificate,
  writeExtendedKeyUsage,
  writeExtension,
  writeKeyUsage,
  writeName,
  writeSubjectKeyIdentifier,
} from '../../../mdm/certificates/write-certificate.ts';
import { OID } from '../../../mdm/cms/oids.ts';
import { writeInteger, writeSequence, writeTrue } from '../../../mdm/cms/write-der.ts';

export interface KeyPair {
  publicKey: KeyObject;
  privateKey: KeyObject;
}

export interface Identity extends KeyPair {
  der: Buffer;
  pem: string;
  certificate: DeviceCertificate;
}

const DAY_MS = 86_400_000;
let rsa: KeyPair | undefined;

/** An RSA-2048 pair shared by all identities that need no key of their own: making one takes a tenth of a second. */
export function sharedRsa(): KeyPair {
  rsa ??= generateKeyPairSync('rsa', { modulusLength: 2048 });
  return rsa;
}

export const newRsa = (modulusLength = 2048): KeyPair => generateKeyPairSync('rsa', { modulusLength });
export const newEc = (namedCurve = 'P-256'): KeyPair => generateKeyPairSync('ec', { namedCurve });

export interface CertificateOptions {
  keys?: KeyPair;
  /** Self-signed without. */
  issuer?: Identity;
  commonName?: string;
  attributes?: readonly NameAttribute[];
  /** Days from now. */
  from?: number;
  to?: number;
  /** CA:TRUE with this path length, or without one. */
  ca?: boolean | { pathLength: number };
  keyUsage?: number;
  ekus?: readonly string[];
  extensions?: readonly Buffer[];
  serialNumber?: Buffer;
}

export async function makeIdentity(options: CertificateOptions = {}): Promise<Identity> {
  const keys = options.keys ?? newEc();
  const publicKeyInfo = publicKeyInfoOf(keys.publicKey);
  const subjectName = writeName(
    options.attributes ?? [{ type: OID.commonName, value: options.commonName ?? 'A device' }],
  );
  const issuerInfo = options.issuer === undefined ? publicKeyInfo : publicKeyInfoOf(options.issuer.publicKey);
  const pathLength = typeof options.ca === 'object' ? [writeInteger(options.ca.pathLength)] : [];
  const der = await writeCertificate(
    {
      serialNumber: options.serialNumber ?? randomBytes(12),
      issuerName: options.issuer?.certificate.subjectName ?? subjectName,
      subjectName,
      notBefore: new Date(Date.now() + (options.from ?? -1) * DAY_MS),
      notAfter: new Date(Date.now() + (options.to ?? 365) * DAY_MS),
      publicKeyInfo,
      extensions: [
        ...(options.ca ? [writeExtension(OID.basicConstraints, true, writeSequence(writeTrue(), ...pathLength))] : []),
        ...(options.keyUsage === undefined ? [] : [writeKeyUsage(options.keyUsage)]),
        ...(options.ekus === undefined ? [] : [writeExtendedKeyUsage(...options.ekus)]),
        writeSubjectKeyIdentifier(publicKeyInfo),
        writeAuthorityKeyIdentifier(keyIdentifierOf(issuerInfo)),
        ...(options.extensions ?? []),
      ],
    },
    options.issuer?.privateKey ?? keys.privateKey,
  );
  const certificate = readCertificate(der);
  if (!certificate.ok) throw certificate.error;
  return { ...keys, der, pem: writePem('CERTIFICATE', der), certificate: certificate.value };
}
