import { createPrivateKey } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { readPushCertificate } from '../../../mdm/certificates/read-push-certificate.ts';
import { OID } from '../../../mdm/cms/oids.ts';
import { makePushCertificate } from '../../../simulator/make-push-certificate.ts';
import { openssl, pemOfKey } from '../cms/openssl.ts';
import { makeIdentity, newEc, newRsa } from './make-certificate.ts';

const topic = 'com.apple.mgmt.External.6b3b1f6e-6e0c-4b8e-8f5b-0a7b3f0d2c11';
let pem: string;
let certificate: string;
let key: string;

beforeAll(async () => {
  pem = await makePushCertificate(topic);
  const keyAt = pem.indexOf('-----BEGIN PRIVATE KEY');
  certificate = pem.slice(0, keyAt);
  key = pem.slice(keyAt);
});

function complaint(text: string | Buffer): string {
  const result = readPushCertificate(text);
  if (result.ok) return 'ok';
  expect(result.error).toMatchObject({ code: 'push-certificate.invalid', status: 400 });
  return result.error.message;
}

describe('readPushCertificate (nanomdm §4.2)', () => {
  test('gives the topic, the end and the two blocks', () => {
    const result = readPushCertificate(pem);
    if (!result.ok) throw result.error;
    expect(result.value.topic).toBe(topic);
    expect(result.value.certificatePem).toBe(certificate);
    expect(createPrivateKey(result.value.privateKeyPem).asymmetricKeyType).toBe('rsa');
    const end = openssl(['x509', '-noout', '-enddate', '-in', 'cert'], { cert: certificate }).toString();
    expect(result.value.notAfter).toEqual(new Date(end.replace('notAfter=', '')));
  });

  test.each([
    ['the key first', () => key + certificate],
    ['no newline between END and BEGIN', () => certificate.trimEnd() + key.trimEnd()],
    ['as bytes', () => Buffer.from(pem)],
    [
      'with attributes around, as openssl pkcs12 prints them',
      () => `Bag Attributes\n    friendlyName: x\n${certificate}\nKey Attributes: <No Attributes>\n${key}`,
    ],
    ['Windows line ends', () => pem.replaceAll('\n', '\r\n')],
    ['a PKCS#1 key', () => certificate + createPrivateKey(key).export({ format: 'pem', type: 'pkcs1' }).toString()],
  ])('accepts %s', (_what, text) => {
    expect(complaint(text())).toBe('ok');
  });

  test('the last block of each kind counts', async () => {
    const other = await makePushCertificate('com.apple.mgmt.External.other');
    const last = readPushCertificate(other + pem);
    expect(last).toMatchObject({ ok: true, value: { topic } });
    expect(complaint(pem + other.slice(0, other.indexOf('-----BEGIN PRIVATE')))).toBe(
      'tls: private key does not match public key',
    );
  });

  test('an expired certificate is accepted', async () => {
    expect(complaint(await makePushCertificate(topic, -5))).toBe('ok');
  });

  test('an EC key in SEC 1 form', async () => {
    const ec = await makeIdentity({ attributes: [{ type: OID.userId, value: topic }] });
    expect(complaint(ec.pem + ec.privateKey.export({ format: 'pem', type: 'sec1' }).toString())).toBe('ok');
  });

  test('says what is wrong in the words that clients know', async () => {
    const noKey = 'tls: failed to find any PEM data in key input';
    const noCertificate = 'tls: failed to find any PEM data in certificate input';
    expect(complaint('')).toBe(noCertificate);
    expect(complaint('not PEM')).toBe(noCertificate);
    expect(complaint(key)).toBe(noCertificate);
    expect(complaint(certificate)).toBe(noKey);
    expect(complaint(certificate + pemOfKey(newRsa().privateKey))).toBe('tls: private key does not match public key');
    expect(complaint(certificate + pemOfKey(newEc().privateKey))).toBe(
      'tls: private key type does not match public key type',
    );
    expect(complaint(certificate + key.replace(/\n.{64}\n/, '\n'))).toBe('tls: failed to parse private key');
    expect(complaint(`${pem}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n`)).toBe(
      'unrecognized PEM type: "X509 CRL"',
    );
    expect(complaint('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'.concat(key))).toBe(
      'x509: malformed certificate',
    );
    expect(complaint(Buffer.alloc(2_000_000, 0x2d))).toBe('push certificate too long');
  });

  test('an encrypted key, old form and new', () => {
    const encrypted = 'private key PEM appears to be encrypted';
    const traditional = openssl(['rsa', '-in', 'key', '-aes128', '-traditional', '-passout', 'pass:secret'], { key });
    expect(traditional.toString()).toContain('DEK-Info');
    expect(complaint(certificate + traditional.toString())).toBe(encrypted);
    const modern = openssl(['pkcs8', '-topk8', '-in', 'key', '-passout', 'pass:secret'], { key });
    expect(complaint(certificate + modern.toString())).toBe(encrypted);
  });

  test.each([
    ['another topic', [{ type: OID.userId, value: 'com.example.mgmt' }]],
    ['the topic only as common name', [{ type: OID.commonName, value: topic }]],
  ])('no topic: %s', async (_what, attributes) => {
    const identity = await makeIdentity({ attributes });
    expect(complaint(identity.pem + pemOfKey(identity.privateKey))).toBe('no APNs Topic found');
  });

  test('a topic that Node would print with escapes is read as it is', async () => {
    const odd = 'com.apple.mgmt.External.a, b + c\\d';
    expect(readPushCertificate(await makePushCertificate(odd))).toMatchObject({ ok: true, value: { topic: odd } });
  });
});
