/** A certificate's DER → what the server needs of it. Parsed once per hash (`CertificateCache`), verified elsewhere. */
import { hash, type KeyObject, X509Certificate } from 'node:crypto';
import { DerFields, type DerNode, readDer, TAG } from '../cms/read-der.ts';
import { readAlgorithm, readTime } from '../cms/read-der-values.ts';
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import { type AlternativeNames, type Extensions, readExtensions } from './read-extensions.ts';
import { readNameAttributes, type Subject, subjectOf } from './read-name.ts';

export interface DeviceCertificate {
  readonly der: Buffer;
  /** SHA-256 of `der` in lower-case hex: what enrollments are bound to (nanomdm §3.4). */
  readonly sha256: string;
  readonly certificate: X509Certificate;
  readonly publicKey: KeyObject;
  /** `other`: a kind, size or curve of key that nothing here verifies with. */
  readonly keyType: 'rsa' | 'ec' | 'other';
  readonly subject: Subject;
  readonly alternativeNames: AlternativeNames;
  /** Encoded Names, for comparing byte by byte as RFC 5280 §7.1 recommends CAs to encode them. */
  readonly subjectName: Buffer;
  readonly issuerName: Buffer;
  /** Lower-case hex of the INTEGER's content. */
  readonly serialNumber: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Dotted extended key usages; null when the certificate does not restrict them. */
  readonly ekus: readonly string[] | null;
  readonly extensions: Extensions;
  /** Dotted algorithm of the issuer's signature. */
  readonly signatureAlgorithm: string;
}

/**
 * Parses one certificate. The input must be DER to the last byte: any second spelling of the same certificate would
 * have another SHA-256, and one device could pass as many. Errors: `certificate.syntax`, `der.limit`. Never throws.
 */
export function readCertificate(bytes: Uint8Array): Result<DeviceCertificate> {
  // A copy: what is kept must not hold on to a whole request.
  const der = Buffer.from(bytes);
  const root = readDer(der, { encoding: 'der' });
  if (!root.ok) return root.error.code === 'der.limit' ? root : syntax(root.error.message);
  const [toBeSigned, outerAlgorithm] = root.value.tag === TAG.SEQUENCE ? root.value.children : [];
  const fields = toBeSigned?.tag === TAG.SEQUENCE ? readFields(toBeSigned) : undefined;
  if (fields === undefined || fields.signatureAlgorithm !== readAlgorithm(outerAlgorithm)) {
    return syntax('malformed certificate');
  }
  const native = readNative(der);
  if (native === undefined) return syntax('unreadable certificate or public key');
  return ok({ der, sha256: hash('sha256', der), ...native, keyType: keyTypeOf(native.publicKey), ...fields });
}

function readFields(toBeSigned: DerNode) {
  const fields = new DerFields(toBeSigned);
  fields.take(0xa0); // version
  const serial = fields.take(TAG.INTEGER);
  const signatureAlgorithm = readAlgorithm(fields.take(TAG.SEQUENCE));
  const issuer = fields.take(TAG.SEQUENCE);
  const [from, to, ...others] = fields.take(TAG.SEQUENCE)?.children ?? [];
  const subject = fields.take(TAG.SEQUENCE);
  const publicKey = fields.take(TAG.SEQUENCE);
  fields.take(0x81); // issuer's and subject's unique identifiers: obsolete
  fields.take(0x82);
  const extensions = readExtensions(fields.take(0xa3));
  const notBefore = readTime(from);
  const notAfter = readTime(to);
  const attributes = readNameAttributes(subject);
  if (!serial || !signatureAlgorithm || !issuer || !subject || !publicKey || !attributes || others.length > 0) {
    return undefined;
  }
  if (!notBefore || !notAfter || !extensions || !fields.isDone || !readNameAttributes(issuer)) return undefined;
  return {
    subject: subjectOf(attributes),
    alternativeNames: extensions.alternativeNames,
    subjectName: subject.raw,
    issuerName: issuer.raw,
    serialNumber: serial.content.toString('hex'),
    notBefore,
    notAfter,
    ekus: extensions.extendedKeyUsages,
    extensions,
    signatureAlgorithm,
  };
}

function readNative(der: Buffer): { certificate: X509Certificate; publicKey: KeyObject } | undefined {
  try {
    const certificate = new X509Certificate(der);
    // Node looks for PEM first, anywhere in the bytes: a certificate carried inside another one's extension would be
    // read in its place, under the hash of the wrapper.
    if (!certificate.raw.equals(der)) return undefined;
    return { certificate, publicKey: certificate.publicKey };
  } catch {
    return undefined;
  }
}

const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

function keyTypeOf(key: KeyObject): 'rsa' | 'ec' | 'other' {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  // 1024 bits is what a device makes when SCEP names no size; above 8192 one check would cost milliseconds.
  if (key.asymmetricKeyType === 'rsa') return modulusLength >= 1024 && modulusLength <= 8192 ? 'rsa' : 'other';
  return key.asymmetricKeyType === 'ec' && CURVES.has(namedCurve) ? 'ec' : 'other';
}

const syntax = (message: string) => fail(new ProtocolError('certificate.syntax', message));
