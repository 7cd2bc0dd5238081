import { type CertificateAuthority, issueDeviceCertificate } from '../mdm/certificates/certificate-authority.ts';
import { readPem } from '../mdm/certificates/read-pem.ts';
import { AdminClient } from './admin-client.ts';
import type { DeviceCertificate } from './device-certificate.ts';
import { makeCsr, makeKeyPair } from './device-identity.ts';

export interface IdentityRequest {
  /** The UDID, by which the server recognises a renewed certificate. */
  readonly commonName: string;
  readonly serialNumber: string;
  readonly keyType: 'rsa' | 'ec';
}

/** How a device gets its identity: each call makes a new key and has it certified. */
export interface IdentitySource {
  obtain(request: IdentityRequest): Promise<DeviceCertificate>;
}

const VALIDITY_DAYS = 365;

/** From the server's own CA, through the admin API. Rejects with AdminRequestError. */
export function issuedByServer(url: string, apiKey: string): IdentitySource {
  const admin = new AdminClient(url, apiKey);
  return { obtain: (request) => certify(request, (csr) => admin.issueCertificate(csr).then(derOfPem)) };
}

/** From a CA whose key is at hand, without any server. */
export function givenCa(certificatePem: string, privateKeyPem: string): IdentitySource {
  const ca: CertificateAuthority = { certificatePem, privateKeyPem };
  return {
    obtain: (request) =>
      certify(request, async (csr) => {
        const issued = await issueDeviceCertificate(ca, csr, { days: VALIDITY_DAYS });
        if (!issued.ok) throw issued.error;
        return issued.value;
      }),
  };
}

async function certify(
  { commonName, serialNumber, keyType }: IdentityRequest,
  issue: (csrPem: string) => Promise<Buffer>,
): Promise<DeviceCertificate> {
  const keys = await makeKeyPair(keyType);
  const certificateDer = await issue(await makeCsr(keys, { commonName, serialNumber }));
  return { privateKey: keys.privateKey, certificateDer };
}

function derOfPem(pem: string): Buffer {
  const [block] = readPem(pem) ?? [];
  if (block?.label !== 'CERTIFICATE') throw new Error('the server issued no PEM certificate');
  return Buffer.from(block.bytes);
}
