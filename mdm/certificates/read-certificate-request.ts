/** PKCS#10 certificate requests (RFC 2986), as SCEP carries them. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { OID } from '../cms/oids.ts';
import { DerFields, type DerNode, readDer, TAG } from '../cms/read-der.ts';
import { readAlgorithm, readBitString, readText } from '../cms/read-der-values.ts';
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import { readNameAttributes, type Subject, subjectOf } from './read-name.ts';
import { readPem } from './read-pem.ts';

export interface CertificateRequest {
  /** Encoded Name. All of it is the requester's claim. */
  readonly subjectName: Buffer;
  readonly subject: Subject;
  readonly publicKey: KeyObject;
  /** Encoded SubjectPublicKeyInfo. */
  readonly publicKeyInfo: Buffer;
  readonly challengePassword: string | undefined;
}

/** Signature algorithms of requests. SHA-1 is harmless here: it only shows that the requester has the key. */
const DIGESTS: ReadonlyMap<string, string> = new Map([
  [OID.sha1WithRsa, 'sha1'],
  [OID.sha256WithRsa, 'sha256'],
  [OID.sha384WithRsa, 'sha384'],
  [OID.sha512WithRsa, 'sha512'],
  [OID.ecdsaWithSha1, 'sha1'],
  [OID.ecdsaWithSha256, 'sha256'],
  [OID.ecdsaWithSha384, 'sha384'],
  [OID.ecdsaWithSha512, 'sha512'],
]);

/**
 * Reads a request (DER, or PEM text) and verifies that it is signed with its own key, which must be RSA of 2048 to 8192
 * bits or EC on P-256 or P-384. Error: `csr.invalid`. Never throws.
 */
export function readCertificateRequest(csr: Uint8Array | string): Result<CertificateRequest> {
  const der = typeof csr === 'string' ? derOfPem(csr) : csr;
  const root = readDer(der ?? Buffer.of(), { encoding: 'der' });
  if (!root.ok) return invalid('malformed');
  const fields = new DerFields(root.value.tag === TAG.SEQUENCE ? root.value : undefined);
  const info = fields.take(TAG.SEQUENCE);
  const digest = DIGESTS.get(readAlgorithm(fields.take(TAG.SEQUENCE)) ?? '');
  const signature = readBitString(fields.take(TAG.BIT_STRING));
  if (!info || !signature || !fields.isDone) return invalid('malformed');
  if (digest === undefined) return invalid('unsupported signature algorithm');
  const request = readInfo(new DerFields(info));
  if (!request.ok) return request;
  if (!isGoodKey(request.value.publicKey)) return invalid('the key is not RSA of at least 2048 bits, P-256 or P-384');
  return isSelfSigned(info.raw, digest, request.value.publicKey, signature)
    ? request
    : invalid('its signature does not match its key');
}

function derOfPem(text: string): Buffer | undefined {
  const [block] = readPem(text, 1) ?? [];
  return block?.label === 'CERTIFICATE REQUEST' || block?.label === 'NEW CERTIFICATE REQUEST' ? block.bytes : undefined;
}

function readInfo(fields: DerFields): Result<CertificateRequest> {
  const version = fields.take(TAG.INTEGER);
  const subject = fields.take(TAG.SEQUENCE);
  const publicKeyInfo = fields.take(TAG.SEQUENCE);
  const attributes = fields.take(0xa0);
  const names = readNameAttributes(subject);
  if (!version || !subject || !publicKeyInfo || !names || !fields.isDone) return invalid('malformed');
  const publicKey = readPublicKey(publicKeyInfo.raw);
  if (publicKey === undefined) return invalid('unreadable key');
  return ok({
    subjectName: subject.raw,
    subject: subjectOf(names),
    publicKey,
    publicKeyInfo: publicKeyInfo.raw,
    challengePassword: readChallenge(attributes),
  });
}

function readPublicKey(publicKeyInfo: Buffer): KeyObject | undefined {
  try {
    return createPublicKey({ key: publicKeyInfo, format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

function readChallenge(attributes: DerNode | undefined): string | undefined {
  const attribute = attributes?.children.find((node) => readAlgorithm(node) === OID.challengePassword);
  return readText(attribute?.children[1]?.children[0]);
}

function isGoodKey(key: KeyObject): boolean {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec') return namedCurve === 'prime256v1' || namedCurve === 'secp384r1';
  if (key.asymmetricKeyType !== 'rsa') return false;
  return modulusLength >= 2048 && modulusLength <= 8192 && publicExponent >= 3n && publicExponent % 2n === 1n;
}

function isSelfSigned(info: Buffer, digest: string, key: KeyObject, signature: Buffer): boolean {
  try {
    return verify(digest, info, key, signature);
  } catch {
    return false;
  }
}

const invalid = (message: string) => fail(new ProtocolError('csr.invalid', `certificate request: ${message}`));
