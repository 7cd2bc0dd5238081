import { beforeAll, describe, expect, test } from 'vitest';
import { CertificateCache } from '../../../mdm/certificates/certificate-cache.ts';
import { readCertificateHeader } from '../../../mdm/certificates/read-certificate-header.ts';
import { pemOfKey } from '../cms/openssl.ts';
import { type Identity, makeIdentity, newRsa } from './make-certificate.ts';

const cache = new CertificateCache();
let device: Identity;
let second: Identity;

beforeAll(async () => {
  // RSA: long enough for a `+` in its base64.
  device = await makeIdentity({ keys: newRsa(), commonName: 'first' });
  second = await makeIdentity({ commonName: 'second' });
  while (!device.pem.includes('+')) device = await makeIdentity({ keys: device, commonName: 'first' });
});

function outcome(value: string): string | undefined {
  const result = readCertificateHeader(value, cache);
  return result.ok ? result.value.subject.commonName : result.error.code;
}

describe('RFC 9440 (nanomdm §10 #19, #95)', () => {
  test('DER between colons', () => {
    expect(outcome(`:${device.der.toString('base64')}:`)).toBe('first');
  });

  test.each([':', '::', ':INVALID:', ':AA==:', ': :'])('%s is refused', (value) => {
    expect(outcome(value)).toBe('certificate.syntax');
  });

  test('empty, without the last colon, PEM text inside, URL-safe, blanks, two joined by a comma', () => {
    const base64 = device.der.toString('base64');
    expect(outcome('')).toBe('certificate.missing');
    expect(outcome(`:${base64}`)).toBe('certificate.syntax');
    expect(outcome(`:${Buffer.from(device.pem).toString('base64')}:`)).toBe('certificate.syntax');
    expect(outcome(`:${device.der.toString('base64url')}:`)).toBe('certificate.syntax');
    expect(outcome(`: ${base64} :`)).toBe('certificate.syntax');
    expect(outcome(`:${base64}:, :${base64}:`)).toBe('certificate.syntax');
  });
});

describe('query-escaped PEM (nanomdm §10 #20, #95)', () => {
  test('as nginx and others escape it', () => {
    expect(outcome(encodeURIComponent(device.pem))).toBe('first');
    expect(outcome(encodeURIComponent(device.pem).replaceAll('%20', '+'))).toBe('first');
    expect(outcome(encodeURIComponent(device.pem.replaceAll('\n', '\r\n')))).toBe('first');
    const lowerCase = encodeURIComponent(device.pem).replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase());
    expect(outcome(lowerCase)).toBe('first');
  });

  test('a plus sign that was not escaped is a blank, and the certificate is gone', () => {
    expect(outcome(encodeURIComponent(device.pem).replaceAll('%2B', '+'))).toBe('certificate.syntax');
  });

  test.each(['%GK', 'INVALID', '%', '%2', '%E4%F6'])('%s is refused', (value) => {
    expect(outcome(value)).toBe('certificate.syntax');
  });

  test('a malformed escape anywhere', () => {
    expect(outcome(`%20text%20${encodeURIComponent(device.pem)}`)).toBe('first');
    for (const malformed of ['%GK', '%2', '%'])
      expect(outcome(encodeURIComponent(device.pem) + malformed)).toBe('certificate.syntax');
  });

  test('of several blocks the first counts, and what follows is not even looked at', () => {
    expect(outcome(encodeURIComponent(device.pem + second.pem))).toBe('first');
    expect(outcome(encodeURIComponent(`${second.pem}-----BEGIN CERTIFICATE-----\nbroken`))).toBe('second');
    expect(outcome(encodeURIComponent(pemOfKey(second.privateKey) + second.pem))).toBe('certificate.syntax');
  });

  test('a header longer than 64 KiB', () => {
    expect(outcome(encodeURIComponent(device.pem.repeat(60)))).toBe('certificate.syntax');
  });
});
