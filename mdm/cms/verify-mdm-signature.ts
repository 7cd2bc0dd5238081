/**
 * The `Mdm-Signature` header: base64 of a detached CMS signature over the request's body, made with the device's
 * identity (nanomdm §3.1, apple-protocols §1.2). Real devices send BER with indefinite lengths and no signed attributes.
 */
import type { CertificateCache } from '../certificates/certificate-cache.ts';
import type { DeviceCertificate } from '../certificates/read-certificate.ts';
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import { OID } from './oids.ts';
import { readDer } from './read-der.ts';
import { readSignedData, type SignedData, type SignerInfo } from './read-signed-data.ts';
import { verifySigner } from './verify-signer.ts';

const MAX_HEADER_LENGTH = 64 * 1024;

/** A signature that was read but not checked. Anybody can make one that carries another's certificate: only `verify` proves something. */
export interface MdmSignature {
  /** The signer's. **Not trusted yet**: `DeviceTrust.check` decides. */
  readonly certificate: DeviceCertificate;
  /** Whether it was made over these bytes with the certificate's key. Errors: `cms.unsupported`, `cms.signature`. Never throws. */
  verify(body: Uint8Array): Result<DeviceCertificate>;
}

/**
 * Reads the header, before there is a body: whose certificate has no trust need not be listened to. Only the certificate's parsing is cached.
 * Errors: `certificate.missing` (no header, or the signer's certificate is not in it), `cms.syntax`, `der.*`, `cms.unsupported`, `certificate.syntax`.
 * Never throws.
 */
export function openMdmSignature(header: string | undefined, certificates: CertificateCache): Result<MdmSignature> {
  const bytes = decodeHeader(header);
  if (!bytes.ok) return bytes;
  const signedData = readSignedData(bytes.value);
  if (!signedData.ok) return signedData;
  const signer = onlySigner(signedData.value);
  if (!signer.ok) return signer;
  const der = signedData.value.certificates.find((candidate) => isCertificateOf(signer.value, candidate));
  if (der === undefined) {
    return fail(new ProtocolError('certificate.missing', "the signer's certificate is not in the signature"));
  }
  const certificate = certificates.read(der);
  if (!certificate.ok) return certificate;
  const { content } = signedData.value;
  return ok({
    certificate: certificate.value,
    verify(body) {
      if (content !== undefined && !content.equals(body)) {
        return fail(new ProtocolError('cms.signature', 'the attached content is not the body'));
      }
      const verified = verifySigner(signer.value, OID.data, body, certificate.value);
      return verified.ok ? certificate : verified;
    },
  });
}

/** Both at once: the signer's certificate, not trusted yet. Errors: those of `openMdmSignature` and of its `verify`. Never throws. */
export function verifyMdmSignature(
  header: string | undefined,
  body: Uint8Array,
  certificates: CertificateCache,
): Result<DeviceCertificate> {
  const signature = openMdmSignature(header, certificates);
  return signature.ok ? signature.value.verify(body) : signature;
}

function decodeHeader(header: string | undefined): Result<Buffer> {
  if (header === undefined || header === '') {
    return fail(new ProtocolError('certificate.missing', 'missing MDM certificate'));
  }
  if (header.length > MAX_HEADER_LENGTH) return fail(new ProtocolError('cms.syntax', 'signature header too long'));
  const bytes = Buffer.from(header, 'base64');
  // Node decodes leniently (URL-safe, unpadded, blanks, cut off); only the one canonical spelling encodes back to itself.
  if (bytes.toString('base64') !== header) {
    return fail(new ProtocolError('cms.syntax', 'the signature header is not padded standard base64'));
  }
  return ok(bytes);
}

function onlySigner(signedData: SignedData): Result<SignerInfo> {
  const [signer, ...others] = signedData.signers;
  if (signer === undefined || others.length > 0) {
    return fail(new ProtocolError('cms.unsupported', 'not exactly one signer'));
  }
  if (signedData.contentType !== OID.data)
    return fail(new ProtocolError('cms.unsupported', 'not a signature over data'));
  return ok(signer);
}

/**
 * Whether an embedded certificate has the signer's issuer and serial number. Reads no further than that, so that
 * certificates nobody signed with never reach the cache.
 */
function isCertificateOf(signer: SignerInfo, der: Buffer): boolean {
  const node = readDer(der, { encoding: 'der' });
  const fields = node.ok ? (node.value.children[0]?.children ?? []) : [];
  const first = fields[0]?.tag === 0xa0 ? 1 : 0; // [0] version, absent in version 1
  const [serialNumber, , issuer] = fields.slice(first, first + 3);
  return (
    signer.serialNumber.equals(serialNumber?.content ?? Buffer.of()) && signer.issuer.equals(issuer?.raw ?? Buffer.of())
  );
}
