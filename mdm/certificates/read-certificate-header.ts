/** The header in which a proxy that terminates mutual TLS hands on the client's certificate (nanomdm §3.2). */
import { ProtocolError } from '../errors.ts';
import { fail, type Result } from '../result.ts';
import type { CertificateCache } from './certificate-cache.ts';
import type { DeviceCertificate } from './read-certificate.ts';
import { readPem } from './read-pem.ts';

const MAX_HEADER_LENGTH = 64 * 1024;

/**
 * Reads `:base64 DER:` (RFC 9440 §2.2) or URL-query-escaped PEM (nginx's `$ssl_client_escaped_cert`), of which the
 * first block counts. The header is believed: the proxy must strip what clients send.
 *
 * `value` is the **first** raw header of that name (`IncomingMessage.rawHeaders` or `headersDistinct`): Node joins
 * repeated ones with `, `, which is neither form. Errors: `certificate.missing` (empty), `certificate.syntax`. Never throws.
 */
export function readCertificateHeader(value: string, certificates: CertificateCache): Result<DeviceCertificate> {
  if (value === '') return fail(new ProtocolError('certificate.missing', 'the certificate header is empty'));
  if (value.length > MAX_HEADER_LENGTH) return syntax('certificate header too long');
  const der = value.startsWith(':') ? decodeStructuredField(value) : decodeEscapedPem(value);
  return der === undefined ? syntax('the certificate header is malformed') : certificates.read(der);
}

function decodeStructuredField(value: string): Buffer | undefined {
  if (value.length < 3 || !value.endsWith(':')) return undefined;
  const text = value.slice(1, -1);
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

function decodeEscapedPem(value: string): Buffer | undefined {
  const [first] = readPem(unescapeQuery(value) ?? '', 1) ?? [];
  return first?.label === 'CERTIFICATE' ? first.bytes : undefined;
}

/** `%XX` and `+` as in a URL's query, byte by byte; undefined on a malformed escape. */
function unescapeQuery(text: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined;
  return text
    .replaceAll('+', ' ')
    .replace(/%([0-9A-Fa-f]{2})/g, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

const syntax = (message: string) => fail(new ProtocolError('certificate.syntax', message));
