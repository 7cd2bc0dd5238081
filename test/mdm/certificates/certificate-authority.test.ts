import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type CertificateAuthority,
  createCertificateAuthority,
  issueDeviceCertificate,
} from '../../../mdm/certificates/certificate-authority.ts';
import { DeviceTrust } from '../../../mdm/certificates/device-trust.ts';
import { readCertificate } from '../../../mdm/certificates/read-certificate.ts';
import { readCertificateRequest } from '../../../mdm/certificates/read-certificate-request.ts';
import { readPem, writePem } from '../../../mdm/certificates/read-pem.ts';
import { OID } from '../../../mdm/cms/oids.ts';
import { makeCsr, makeKeyPair } from '../../../simulator/device-identity.ts';
import { openssl, pemOfKey } from '../cms/openssl.ts';
import { newEc, newRsa } from './make-certificate.ts';

const DAY_MS = 86_400_000;
let ca: CertificateAuthority;

beforeAll(async () => {
  ca = await createCertificateAuthority({ commonName: 'Espalier test CA', years: 10 });
});

async function issue(csr: Buffer | string, options: Partial<Parameters<typeof issueDeviceCertificate>[2]> = {}) {
  const der = await issueDeviceCertificate(ca, csr, { days: 365, ...options });
  if (!der.ok) throw der.error;
  const certificate = readCertificate(der.value);
  if (!certificate.ok) throw certificate.error;
  return certificate.value;
}

const opensslCsr = (key: string, ...options: readonly string[]): string =>
  openssl(['req', '-new', '-key', 'key', '-subj', '/O=X/CN=device', ...options], { key }).toString();

async function refusal(csr: Buffer | string): Promise<string> {
  const result = await issueDeviceCertificate(ca, csr, { days: 1 });
  if (result.ok) return 'issued';
  expect(result.error.code).toBe('csr.invalid');
  return result.error.message;
}

describe('createCertificateAuthority', () => {
  test('makes a CA that openssl takes for one, with its own key', () => {
    const text = openssl(['x509', '-in', 'ca', '-noout', '-text'], { ca: ca.certificatePem }).toString();
    expect(text).toContain('CA:TRUE, pathlen:0');
    expect(text).toMatch(/Key Usage: critical\s+Digital Signature, Key Encipherment, Certificate Sign, CRL Sign/);
    expect(text).toContain('Public-Key: (2048 bit)');
    expect(text).toContain('Subject Key Identifier');
    expect(openssl(['verify', '-CAfile', 'ca', '-check_ss_sig', 'ca'], { ca: ca.certificatePem }).toString()).toContain(
      'OK',
    );
    const native = new X509Certificate(ca.certificatePem);
    const years = new Date(native.validTo).getUTCFullYear() - new Date(native.validFrom).getUTCFullYear();
    expect(years).toBe(10);
    expect(openssl(['rsa', '-in', 'key', '-check', '-noout'], { key: ca.privateKeyPem }).toString()).toContain(
      'RSA key ok',
    );
  });
});

describe('issueDeviceCertificate', () => {
  test.each(['rsa', 'ec'] as const)('a request of the simulator, %s: trusted here and by openssl', async (type) => {
    const keyPair = await makeKeyPair(type);
    const csr = await makeCsr(keyPair, { commonName: 'UDID', serialNumber: 'C02', challengePassword: 'geheim é' });
    expect(openssl(['req', '-in', 'csr', '-noout', '-verify', '-subject'], { csr }).toString()).toContain(
      'serialNumber = C02',
    );
    expect(readCertificateRequest(csr)).toMatchObject({ ok: true, value: { challengePassword: 'geheim é' } });

    const certificate = await issue(csr);
    expect(certificate.subject).toMatchObject({ commonName: 'UDID', serialNumber: 'C02' });
    expect(certificate.publicKey.equals(keyPair.publicKey)).toBe(true);
    expect(certificate.ekus).toEqual([OID.clientAuth]);
    expect(certificate.extensions).toMatchObject({ isCa: false, maySignCertificates: false });
    expect(certificate.serialNumber).toMatch(/^01[0-9a-f]{32}$/);
    expect(new DeviceTrust({ ownCaPem: ca.certificatePem }).check(certificate)).toEqual({
      ok: true,
      value: { issuedByOwnCa: true },
    });

    const files = { ca: ca.certificatePem, device: writePem('CERTIFICATE', certificate.der) };
    expect(
      openssl(['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', 'ca', 'device'], files).toString(),
    ).toContain('OK');
    const text = openssl(['x509', '-in', 'device', '-noout', '-text'], files).toString();
    expect(text).toMatch(/Key Usage: critical\s+Digital Signature, Key Encipherment\n/);
    expect(text).toContain('Authority Key Identifier');
  });

  test('requests of openssl in PEM and DER, with P-384 and SHA-1 signatures', async () => {
    const rsa = pemOfKey(newRsa().privateKey);
    const csr = opensslCsr(rsa, '-sha1');
    const [block] = readPem(csr) ?? [];
    expect((await issue(csr)).subject.organizations).toEqual(['X']);
    expect((await issue(block?.bytes ?? Buffer.of())).subject.commonName).toBe('device');
    expect((await issue(csr.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'))).keyType).toBe('rsa');
    expect((await issue(opensslCsr(pemOfKey(newEc('P-384').privateKey), '-sha384'))).keyType).toBe('ec');
  });

  test('nothing that the request asks for is granted but its key and its subject', async () => {
    const csr = opensslCsr(
      pemOfKey(newEc().privateKey),
      ...[
        '-addext',
        'basicConstraints=critical,CA:TRUE',
        '-addext',
        'subjectAltName=DNS:other',
        '-addext',
        'extendedKeyUsage=serverAuth',
      ],
    );
    const certificate = await issue(csr);
    expect(certificate.extensions.isCa).toBe(false);
    expect(certificate.alternativeNames.dnsNames).toEqual([]);
    expect(certificate.ekus).toEqual([OID.clientAuth]);
  });

  test('a common name from the server replaces the whole subject', async () => {
    const csr = await makeCsr(await makeKeyPair('ec'), { commonName: 'claimed', serialNumber: 'SOMEONE-ELSES' });
    const { subject } = await issue(csr, { commonName: 'Enrollment 7 für Ä' });
    expect(subject).toEqual({ commonName: 'Enrollment 7 für Ä', organizations: [], organizationalUnits: [] });
    const nameless = opensslCsr(pemOfKey(newEc().privateKey), '-subj', '/');
    expect(await refusal(nameless)).toContain('no subject');
    expect((await issue(nameless, { commonName: 'named' })).subject.commonName).toBe('named');
  });

  test('validity begins ten minutes ago and ends with the CA at the latest', async () => {
    const csr = await makeCsr(await makeKeyPair('ec'), { commonName: 'x' });
    const now = new Date('2027-01-02T03:04:05Z');
    const certificate = await issue(csr, { now, days: 30 });
    expect(certificate.notBefore).toEqual(new Date('2027-01-02T02:54:05Z'));
    expect(certificate.notAfter.getTime() - now.getTime()).toBe(30 * DAY_MS);
    const long = await issue(csr, { days: 36_500 });
    expect(long.notAfter).toEqual(new Date(new X509Certificate(ca.certificatePem).validTo));
  });

  test('serial numbers do not repeat', async () => {
    const csr = await makeCsr(await makeKeyPair('ec'), { commonName: 'x' });
    const serials = await Promise.all(Array.from({ length: 20 }, async () => (await issue(csr)).serialNumber));
    expect(new Set(serials).size).toBe(20);
  });

  test('weak and unusual keys are refused', async () => {
    const weak = 'the key is not RSA of at least 2048 bits, P-256 or P-384';
    expect(await refusal(opensslCsr(pemOfKey(newRsa(1024).privateKey)))).toContain(weak);
    expect(await refusal(opensslCsr(pemOfKey(newEc('P-521').privateKey)))).toContain(weak);
    expect(await refusal(opensslCsr(pemOfKey(newEc('secp256k1').privateKey)))).toContain(weak);
    expect(await refusal(opensslCsr(pemOfKey(generateKeyPairSync('ed25519').privateKey)))).toContain(
      'unsupported signature',
    );
  });

  test('a request that its own key did not sign, or that is no request', async () => {
    const keyPair = await makeKeyPair('rsa');
    const [block] = readPem(await makeCsr(keyPair, { commonName: 'AAAA' })) ?? [];
    const der = block?.bytes ?? Buffer.of();
    const renamed = Buffer.from(der);
    renamed.write('B', renamed.indexOf('AAAA'), 'latin1');
    expect(await refusal(renamed)).toContain('does not match');
    const foreign = await makeCsr(
      { publicKey: newRsa().publicKey, privateKey: keyPair.privateKey },
      { commonName: 'x' },
    );
    expect(await refusal(foreign)).toContain('does not match');
    for (const wrong of [
      '',
      'text',
      ca.certificatePem,
      Buffer.of(),
      der.subarray(1),
      Buffer.concat([der, Buffer.of(0)]),
    ]) {
      expect(await refusal(wrong)).toContain('malformed');
    }
    for (let length = 0; length < der.length; length += 5)
      expect(await refusal(der.subarray(0, length))).not.toBe('issued');
  });
});
