/** Whether a SignerInfo's signature really is that of a certificate's key over some content (RFC 5652 §5.4–5.6). */
import { hash, verify } from 'node:crypto';
import type { DeviceCertificate } from '../certificates/read-certificate.ts';
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import { OID } from './oids.ts';
import type { DerNode } from './read-der.ts';
import { hasNoParameters, readAlgorithm, readOctets, readOid, readTime } from './read-der-values.ts';
import type { SignedAttributes, SignerInfo } from './read-signed-data.ts';

type Digest = 'sha1' | 'sha256' | 'sha384' | 'sha512';
type KeyType = 'rsa' | 'ec';

/** SHA-1 stays: recorded devices sign with it (nanomdm §3.1). SHA-224 and MD5 are refused by not being here. */
const DIGESTS: ReadonlyMap<string, Digest> = new Map([
  [OID.sha1, 'sha1'],
  [OID.sha256, 'sha256'],
  [OID.sha384, 'sha384'],
  [OID.sha512, 'sha512'],
]);

/** Signature algorithms: the plain ones leave the digest to `digestAlgorithm`, the combined ones must agree with it. */
const SIGNATURES: ReadonlyMap<string, readonly [KeyType, Digest?]> = new Map<string, readonly [KeyType, Digest?]>([
  [OID.rsaEncryption, ['rsa']],
  [OID.sha1WithRsa, ['rsa', 'sha1']],
  [OID.sha256WithRsa, ['rsa', 'sha256']],
  [OID.sha384WithRsa, ['rsa', 'sha384']],
  [OID.sha512WithRsa, ['rsa', 'sha512']],
  [OID.ecPublicKey, ['ec']],
  [OID.ecdsaWithSha1, ['ec', 'sha1']],
  [OID.ecdsaWithSha256, ['ec', 'sha256']],
  [OID.ecdsaWithSha384, ['ec', 'sha384']],
  [OID.ecdsaWithSha512, ['ec', 'sha512']],
]);

/**
 * Verifies `signer` over `content` (of type `contentType`, dotted) with the key of `certificate`; whether that
 * certificate may be trusted is another question (`DeviceTrust`).
 * Errors: `cms.unsupported` (algorithm or key), `cms.signature` (attributes or signature do not fit).
 */
export function verifySigner(
  signer: SignerInfo,
  contentType: string,
  content: Uint8Array,
  certificate: DeviceCertificate,
): Result<void> {
  const digest = digestOf(signer.digestAlgorithm);
  const [keyType, combinedDigest = digest] = SIGNATURES.get(readAlgorithm(signer.signatureAlgorithm) ?? '') ?? [];
  if (digest === undefined || keyType === undefined || combinedDigest !== digest) return unsupported('algorithm');
  if (keyType === 'rsa' && !hasNoParameters(signer.signatureAlgorithm)) return unsupported('algorithm parameters');
  if (certificate.keyType !== keyType) return unsupported('the key is not of the kind the signature claims');

  const { signedAttributes } = signer;
  if (signedAttributes !== undefined) {
    const complaint = attributesComplaint(signedAttributes, contentType, hash(digest, content, 'buffer'), certificate);
    if (complaint !== undefined) return invalid(complaint);
  }
  return isSignedBy(digest, signedAttributes?.toBeSigned ?? content, certificate, signer.signature)
    ? ok(undefined)
    : invalid('the signature does not match');
}

function digestOf(algorithm: DerNode): Digest | undefined {
  return hasNoParameters(algorithm) ? DIGESTS.get(readAlgorithm(algorithm) ?? '') : undefined;
}

function attributesComplaint(
  attributes: SignedAttributes,
  contentType: string,
  contentDigest: Buffer,
  certificate: DeviceCertificate,
): string | undefined {
  const { values } = attributes;
  if (readOid(values.get(OID.contentType)) !== contentType) return 'the content type attribute does not match';
  if (readOctets(values.get(OID.messageDigest))?.equals(contentDigest) !== true) return 'the digest does not match';
  const signingTime = values.get(OID.signingTime);
  if (signingTime === undefined) return undefined;
  const at = readTime(signingTime);
  if (at === undefined) return 'malformed signing time';
  const isWithin = at >= certificate.notBefore && at <= certificate.notAfter;
  return isWithin ? undefined : "signed outside the certificate's validity";
}

function isSignedBy(digest: Digest, bytes: Uint8Array, certificate: DeviceCertificate, signature: Buffer): boolean {
  try {
    // RSA keys default to PKCS#1 v1.5, EC signatures to their DER form: what CMS uses.
    return verify(digest, bytes, certificate.publicKey, signature);
  } catch {
    // OpenSSL throws instead of saying false where key and signature cannot belong together at all.
    return false;
  }
}

const unsupported = (message: string) => fail(new ProtocolError('cms.unsupported', `CMS signature: ${message}`));
const invalid = (message: string) => fail(new ProtocolError('cms.signature', `CMS signature: ${message}`));
