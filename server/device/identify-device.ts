import type { IncomingMessage } from 'node:http';
import type { CertificateCache } from '../../mdm/certificates/certificate-cache.ts';
import type { DeviceTrust } from '../../mdm/certificates/device-trust.ts';
import type { DeviceCertificate } from '../../mdm/certificates/read-certificate.ts';
import { readCertificateHeader } from '../../mdm/certificates/read-certificate-header.ts';
import { openMdmSignature } from '../../mdm/cms/verify-mdm-signature.ts';
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

/** Says who made a request, once its body is there. @throws ProtocolError cms.unsupported, cms.signature (400) */
export type Identify = (body: Buffer) => DeviceIdentity;

/**
 * The certificate with which a request claims to be made: of its signature or by a trusted proxy's word; then chain, dates and usage. Never both ways at once.
 * It asks for no body, so that nobody is listened to for megabytes who has no certificate of ours; whether the signature is that certificate's, the body shows.
 * @throws ProtocolError certificate.*, cms.*, der.* (400)
 */
export function identifyDevice(options: IdentifyOptions, request: IncomingMessage): Identify {
  if (options.certHeader !== '') {
    const identity = identityOf(options, unwrap(fromProxy(options, request)));
    return () => identity;
  }
  const signature = unwrap(openMdmSignature(firstHeader(request, 'mdm-signature'), options.certificates));
  const identity = identityOf(options, signature.certificate);
  return (body) => {
    unwrap(signature.verify(body));
    return identity;
  };
}

function identityOf({ trust }: IdentifyOptions, certificate: DeviceCertificate): DeviceIdentity {
  return { certificate, issuedByOwnCa: unwrap(trust.check(certificate)).issuedByOwnCa };
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
