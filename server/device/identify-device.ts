import type { IncomingMessage } from 'node:http';
import type { CertificateCache } from '../../mdm/certificates/certificate-cache.ts';
import type { DeviceTrust } from '../../mdm/certificates/device-trust.ts';
import type { DeviceCertificate } from '../../mdm/certificates/read-certificate.ts';
import { readCertificateHeader } from '../../mdm/certificates/read-certificate-header.ts';
import { verifyMdmSignature } from '../../mdm/cms/verify-mdm-signature.ts';
import { ProtocolError } from '../../mdm/errors.ts';
import { fail, type Result } from '../../mdm/result.ts';
import { ServerError } from '../errors.ts';

export interface DeviceIdentity {
  readonly certificate: DeviceCertificate;
  readonly issuedByOwnCa: boolean;
}

export interface IdentifyOptions {
  readonly certificates: CertificateCache;
  readonly trust: DeviceTrust;
  /** Name of the header in which a trusted proxy passes the certificate; empty: `Mdm-Signature` counts. */
  readonly certHeader: string;
  /** Whether the peer at this address may be believed about the certificate. */
  isTrustedProxy(address: string): boolean;
}

/** The first value of a header; Node joins repeated ones, and the first is the one that counts (nanomdm §3.2). */
function firstHeader(request: IncomingMessage, name: string): string | undefined {
  const { rawHeaders } = request;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name) return rawHeaders[i + 1];
  }
  return undefined;
}

/**
 * The certificate with which a request was made: verified signature or a trusted proxy's word, then chain, dates and usage. Never both ways at once.
 * @throws ProtocolError certificate.*, cms.*, der.* (400)
 */
export function identifyDevice(options: IdentifyOptions, request: IncomingMessage, body: Buffer): DeviceIdentity {
  const certificate = unwrap(
    options.certHeader === ''
      ? verifyMdmSignature(firstHeader(request, 'mdm-signature'), body, options.certificates)
      : fromProxy(options, request),
  );
  const { issuedByOwnCa } = unwrap(options.trust.check(certificate));
  return { certificate, issuedByOwnCa };
}

function fromProxy(
  { certHeader, certificates, isTrustedProxy }: IdentifyOptions,
  request: IncomingMessage,
): Result<DeviceCertificate> {
  const address = request.socket.remoteAddress ?? '';
  // A header that anybody may send proves nothing: it counts from the proxies that the operator named.
  if (!isTrustedProxy(address)) throw new ServerError('enrollment.refused', `${address} is not a trusted proxy`);
  const value = firstHeader(request, certHeader.toLowerCase());
  if (value === undefined || value === '')
    return fail(new ProtocolError('certificate.missing', 'missing MDM certificate'));
  return readCertificateHeader(value, certificates);
}

function unwrap<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw result.error;
}
