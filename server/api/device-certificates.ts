import type { RequestHandler } from 'express';
import type { Log } from '../../config/log.ts';
import type { CertificateAuthority } from '../../mdm/certificates/certificate-authority.ts';
import { issueDeviceCertificate } from '../../mdm/certificates/certificate-authority.ts';
import { readCertificate } from '../../mdm/certificates/read-certificate.ts';
import { writePem } from '../../mdm/certificates/read-pem.ts';
import { readBody } from '../read-body.ts';
import { queryValue } from './enrollment-ids.ts';
import { sendJson, wholeSeconds } from './nano-json.ts';
import { guarded } from './push-certificates.ts';

const LIMITS = { maxBytes: 64 * 1024, timeoutMs: 30_000 };
const DEFAULT_DAYS = 365;
const MAX_DAYS = 3_650;

/** `POST /v1/certificates[?days=365]` with a PKCS#10 request: a device certificate of our own authority. For provisioning by scripts and for the simulator. */
export const issueCertificate = ({ log, authority }: { log: Log; authority: CertificateAuthority }): RequestHandler =>
  guarded(log, async (request, response) => {
    const days = Number(queryValue(request.originalUrl, 'days') ?? DEFAULT_DAYS);
    if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS)
      return sendJson(response, 400, { error: `days must be 1 to ${MAX_DAYS}` });
    const body = await readBody(request, LIMITS);
    const isPem = body.subarray(0, 5).toString('latin1') === '-----';
    const der = await issueDeviceCertificate(authority, isPem ? body.toString('latin1') : body, { days });
    if (!der.ok) return sendJson(response, 400, { error: der.error.message });
    const certificate = readCertificate(der.value);
    if (!certificate.ok) throw certificate.error;
    const { sha256, notAfter, serialNumber } = certificate.value;
    log.info('certificate.issued', { sha256, serialNumber, notAfter });
    sendJson(response, 201, {
      certificate: writePem('CERTIFICATE', der.value),
      sha256,
      not_after: wholeSeconds(notAfter),
    });
  });
