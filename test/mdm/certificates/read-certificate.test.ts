import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CertificateCache } from '../../../mdm/certificates/certificate-cache.ts';
import { certificateNamesDevice } from '../../../mdm/certificates/certificate-names-device.ts';
import { readCertificate } from '../../../mdm/certificates/read-certificate.ts';
import { writeExtension } from '../../../mdm/certificates/write-certificate.ts';
import { OID } from '../../../mdm/cms/oids.ts';
import { readDer } from '../../../mdm/cms/read-der.ts';
import { writeElement, writeOctetString, writeOid, writeSequence } from '../../../mdm/cms/write-der.ts';
import { openssl, pemOfKey } from '../cms/openssl.ts';
import { reencodeBer } from '../cms/reencode-ber.ts';
import { makeIdentity, newEc, newRsa } from './make-certificate.ts';

const codeOf = (der: Uint8Array): string => {
  const result = readCertificate(der);
  return result.ok ? 'ok' : result.error.code;
};

/** A certificate made by openssl from a configuration's extensions. */
function opensslCertificate(subject: string, extensions: readonly string[], ...options: readonly string[]): Buffer {
  const config = `[req]\ndistinguished_name=dn\nprompt=no\nutf8=yes\n[dn]\n[ext]\n${extensions.join('\n')}\n`;
  const args = [
    'req',
    '-x509',
    '-new',
    '-utf8',
    '-key',
    'key',
    '-subj',
    subject,
    '-config',
    'config',
    '-outform',
    'DER',
  ];
  return openssl([...args, ...(extensions.length > 0 ? ['-extensions', 'ext'] : []), ...options], {
    key: pemOfKey(newEc().privateKey),
    config,
  });
}

describe('readCertificate', () => {
  test('agrees with openssl and Node about every field', () => {
    const der = opensslCertificate(
      '/O=Firma/OU=Gerät/OU=MDM/CN=0000-UDID/serialNumber=C02XYZ/UID=com.apple.mgmt.External.1',
      [
        'subjectAltName=URI:urn:udid:0000-UDID,DNS:mac.example,email:a@b.example,IP:10.0.0.1',
        'extendedKeyUsage=clientAuth,emailProtection',
        'keyUsage=critical,digitalSignature,keyCertSign',
        'basicConstraints=critical,CA:TRUE,pathlen:3',
      ],
    );
    const result = readCertificate(der);
    if (!result.ok) throw result.error;
    const native = new X509Certificate(der);
    const { value } = result;
    expect(value.subject).toEqual({
      commonName: '0000-UDID',
      serialNumber: 'C02XYZ',
      userId: 'com.apple.mgmt.External.1',
      organizations: ['Firma'],
      organizationalUnits: ['Gerät', 'MDM'],
    });
    expect(value.alternativeNames).toEqual({
      uris: ['urn:udid:0000-UDID'],
      dnsNames: ['mac.example'],
      emails: ['a@b.example'],
    });
    expect(value.sha256).toBe(native.fingerprint256.replaceAll(':', '').toLowerCase());
    expect(value.notBefore).toEqual(new Date(native.validFrom));
    expect(value.notAfter).toEqual(new Date(native.validTo));
    expect(BigInt(`0x${value.serialNumber}`)).toBe(BigInt(`0x${native.serialNumber}`));
    expect(value.ekus).toEqual([OID.clientAuth, '1.3.6.1.5.5.7.3.4']);
    expect(value.extensions).toMatchObject({
      isCa: true,
      pathLength: 3,
      maySignCertificates: true,
      hasUnknownCritical: false,
    });
    expect(value.subjectName.equals(value.issuerName)).toBe(true);
    expect(value.keyType).toBe('ec');
  });

  test('no extensions at all, version 1, and years from 2050', () => {
    const plain = readCertificate(opensslCertificate('/CN=plain', [], '-days', '20000'));
    if (!plain.ok) throw plain.error;
    expect(plain.value.ekus).toBeNull();
    expect(plain.value.notAfter.getUTCFullYear()).toBeGreaterThan(2075);
    const csr = openssl(['req', '-new', '-key', 'key', '-subj', '/CN=old'], { key: pemOfKey(newEc().privateKey) });
    const old = openssl(['x509', '-req', '-in', 'csr', '-signkey', 'key', '-outform', 'DER'], {
      csr,
      key: pemOfKey(newRsa().privateKey),
    });
    expect(codeOf(old)).toBe('ok');
  });

  test('only one spelling of a certificate has a hash', async () => {
    const { der } = await makeIdentity();
    expect(codeOf(der)).toBe('ok');
    expect(codeOf(Buffer.concat([der, Buffer.of(0)]))).toBe('certificate.syntax');
    expect(codeOf(reencodeBer(der))).toBe('certificate.syntax');
    expect(codeOf(Buffer.concat([Buffer.of(0x30, 0x80), der.subarray(4), Buffer.of(0, 0)]))).toBe('certificate.syntax');
    const longer = Buffer.concat([Buffer.of(0x30, 0x83, 0), der.subarray(2)]);
    expect(codeOf(longer)).toBe('certificate.syntax');
  });

  test('a PEM certificate inside an extension is not read in place of the one around it', async () => {
    const inner = await makeIdentity({ commonName: 'inner' });
    const hidden = writeExtension('1.2.3.4', false, Buffer.from(`\n${inner.pem}`));
    const outer = await makeIdentity({ commonName: 'outer' });
    const build = makeIdentity({ commonName: 'outer', keys: outer, extensions: [hidden] });
    await expect(build).rejects.toMatchObject({ code: 'certificate.syntax' });
  });

  test('PEM text, other ASN.1 and nothing are not certificates', async () => {
    const { pem, publicKey } = await makeIdentity();
    for (const bytes of [
      Buffer.from(pem),
      Buffer.of(),
      Buffer.of(0x30, 0),
      writeSequence(writeSequence(), writeSequence()),
    ]) {
      expect(codeOf(bytes)).toBe('certificate.syntax');
    }
    expect(codeOf(publicKey.export({ format: 'der', type: 'spki' }))).toBe('certificate.syntax');
  });

  test('malformed and repeated extensions', async () => {
    const usage = writeExtension(OID.extendedKeyUsage, false, writeSequence(writeOid(OID.clientAuth)));
    for (const extensions of [
      [usage, usage],
      [writeExtension(OID.extendedKeyUsage, false, writeSequence())],
      [writeExtension(OID.extendedKeyUsage, false, Buffer.of(0x30, 0x05))],
      [writeExtension(OID.keyUsage, true, writeOctetString(Buffer.of(1)))],
      [writeExtension(OID.basicConstraints, true, writeOctetString(Buffer.of(1)))],
      [writeExtension(OID.basicConstraints, true, writeSequence(writeElement(0x02, Buffer.of(0xff))))],
    ]) {
      await expect(makeIdentity({ extensions })).rejects.toMatchObject({ code: 'certificate.syntax' });
    }
  });

  test('no mutation of a certificate makes it throw', async () => {
    const { der } = await makeIdentity({ ekus: [OID.clientAuth], ca: true });
    fc.assert(
      fc.property(fc.nat({ max: der.length - 1 }), fc.integer({ min: 0, max: 255 }), (offset, value) => {
        const changed = Buffer.from(der);
        changed[offset] = value;
        const result = readCertificate(changed);
        if (!result.ok) expect(result.error.code).toMatch(/^(certificate\.syntax|der\.limit)$/);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('CertificateCache', () => {
  test('parses once per certificate, keeps to its bound, and does not keep what is malformed', async () => {
    const cache = new CertificateCache({ max: 2 });
    const [one, two, three] = [await makeIdentity(), await makeIdentity(), await makeIdentity()];
    const first = cache.read(one.der);
    const again = cache.read(Buffer.from(one.der));
    if (!first.ok || !again.ok) throw new Error('unreadable');
    expect(again.value).toBe(first.value);
    cache.read(two.der);
    cache.read(three.der);
    expect(cache.size).toBe(2);
    expect(cache.read(Buffer.from('no')).ok).toBe(false);
    expect(cache.size).toBe(2);
  });

  test('does not hold on to the memory it was given', async () => {
    const { der } = await makeIdentity();
    const request = Buffer.concat([Buffer.alloc(10_000), der]);
    const result = new CertificateCache().read(request.subarray(10_000));
    if (!result.ok) throw result.error;
    request.fill(0);
    expect(result.value.der.equals(der)).toBe(true);
    expect(readDer(result.value.subjectName, { encoding: 'der' }).ok).toBe(true);
  });
});

describe('certificateNamesDevice', () => {
  const udid = '7C6A1C9E-0D4E-4F67-9C9C-0F9A6B1F2E3D';
  test.each([
    ['common name', `/CN=${udid}`, []],
    ['another case', `/CN=${udid.toLowerCase()}`, []],
    ['serial number', '/CN=x/serialNumber=C02ABC', []],
    ['organizational unit', '/CN=x/OU=C02ABC', []],
    ['URI', '/CN=x', [`subjectAltName=URI:urn:uuid:${udid}`]],
    ['URL', '/CN=x', [`subjectAltName=URI:https://mdm.example/devices/${udid}`]],
    ['DNS name', '/CN=x', ['subjectAltName=DNS:C02ABC']],
  ])('by %s', (_what, subject, extensions) => {
    const certificate = readCertificate(opensslCertificate(subject, extensions));
    if (!certificate.ok) throw certificate.error;
    expect(certificateNamesDevice(certificate.value, [udid, 'C02ABC'])).toBe(true);
    expect(certificateNamesDevice(certificate.value, ['C02AB', 'C02ABCD', udid.slice(1), ''])).toBe(false);
    expect(certificateNamesDevice(certificate.value, [])).toBe(false);
  });
});
