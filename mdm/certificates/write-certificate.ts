/** X.509 v3 certificates, built and signed (RFC 5280 §4.1). The signing itself happens off the main thread. */
import { createPublicKey, hash, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { OID } from '../cms/oids.ts';
import { readDer } from '../cms/read-der.ts';
import { readBitString } from '../cms/read-der-values.ts';
import {
  writeAlgorithm,
  writeBitString,
  writeElement,
  writeExplicit,
  writeInteger,
  writeNull,
  writeOctetString,
  writeOid,
  writeSequence,
  writeSet,
  writeText,
  writeTime,
  writeTrue,
} from '../cms/write-der.ts';
import type { NameAttribute } from './read-name.ts';

const signOffThread = promisify(sign);

/** Bits of KeyUsage, first octet (RFC 5280 §4.2.1.3). */
export const KEY_USAGE = { digitalSignature: 0x80, keyEncipherment: 0x20, keyCertSign: 0x04, crlSign: 0x02 } as const;

export interface CertificateContent {
  /** Unsigned big-endian. */
  serialNumber: Uint8Array;
  /** Encoded Names. */
  issuerName: Uint8Array;
  subjectName: Uint8Array;
  notBefore: Date;
  notAfter: Date;
  /** Encoded SubjectPublicKeyInfo. */
  publicKeyInfo: Uint8Array;
  /** Encoded Extensions, in order. */
  extensions: readonly Uint8Array[];
}

/** Signs a certificate with SHA-256 and the issuer's RSA or EC key; gives its DER. */
export async function writeCertificate(content: CertificateContent, issuerKey: KeyObject): Promise<Buffer> {
  const algorithm = signatureAlgorithmOf(issuerKey);
  const toBeSigned = writeSequence(
    writeExplicit(0, writeInteger(2)),
    writeInteger(content.serialNumber),
    algorithm,
    content.issuerName,
    writeSequence(writeTime(content.notBefore), writeTime(content.notAfter)),
    content.subjectName,
    content.publicKeyInfo,
    writeExplicit(3, writeSequence(...content.extensions)),
  );
  return writeSequence(toBeSigned, algorithm, writeBitString(await signOffThread('sha256', toBeSigned, issuerKey)));
}

/** AlgorithmIdentifier of SHA-256 with this key. */
export function signatureAlgorithmOf(key: KeyObject): Buffer {
  if (key.asymmetricKeyType === 'ec') return writeAlgorithm(OID.ecdsaWithSha256);
  return writeAlgorithm(OID.sha256WithRsa, writeNull());
}

/** Encoded Name with one attribute per RDN. */
export function writeName(attributes: readonly NameAttribute[]): Buffer {
  return writeSequence(
    ...attributes.map(({ type, value }) => writeSet(writeSequence(writeOid(type), writeText(value)))),
  );
}

export const publicKeyInfoOf = (key: KeyObject): Buffer =>
  (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'der', type: 'spki' });

/** SHA-1 of the key's bits (RFC 5280 §4.2.1.2, method 1): a name for the key, not a protection. */
export function keyIdentifierOf(publicKeyInfo: Uint8Array): Buffer {
  const info = readDer(publicKeyInfo, { encoding: 'der' });
  const bits = info.ok ? readBitString(info.value.children[1]) : undefined;
  return hash('sha1', bits ?? publicKeyInfo, 'buffer');
}

export function writeExtension(type: string, isCritical: boolean, value: Uint8Array): Buffer {
  return writeSequence(writeOid(type), ...(isCritical ? [writeTrue()] : []), writeOctetString(value));
}

/** KeyUsage from bits of KEY_USAGE, critical. */
export function writeKeyUsage(bits: number): Buffer {
  // DER drops trailing zero bits.
  const unusedBits = bits === 0 ? 0 : 31 - Math.clz32(bits & -bits);
  return writeExtension(OID.keyUsage, true, writeBitString(Buffer.of(bits), unusedBits));
}

export const writeSubjectKeyIdentifier = (publicKeyInfo: Uint8Array): Buffer =>
  writeExtension(OID.subjectKeyIdentifier, false, writeOctetString(keyIdentifierOf(publicKeyInfo)));

export const writeAuthorityKeyIdentifier = (keyIdentifier: Uint8Array): Buffer =>
  writeExtension(OID.authorityKeyIdentifier, false, writeSequence(writeElement(0x80, keyIdentifier)));

export const writeExtendedKeyUsage = (...usages: readonly string[]): Buffer =>
  writeExtension(OID.extendedKeyUsage, false, writeSequence(...usages.map(writeOid)));
