import { beforeAll, describe, expect, test } from 'vitest';
import { CertificateCache } from '../../../mdm/certificates/certificate-cache.ts';
import { TAG } from '../../../mdm/cms/read-der.ts';
import { verifyMdmSignature } from '../../../mdm/cms/verify-mdm-signature.ts';
import { signMdm } from '../../../simulator/mdm-signature.ts';
import { type Identity, makeIdentity, newEc, newRsa } from '../certificates/make-certificate.ts';
import { openssl, pemOfKey } from './openssl.ts';
import { reencodeBer } from './reencode-ber.ts';

const body = Buffer.from(
  `<?xml version="1.0"?><plist><dict><key>Status</key><string>Idle</string>${'é\r\n'.repeat(500)}</dict></plist>`,
);
const other = Buffer.concat([body, Buffer.of(0)]);
const cache = new CertificateCache();

let ca: Identity;
let rsa: Identity;
let p256: Identity;
let p384: Identity;
let p521: Identity;

beforeAll(async () => {
  ca = await makeIdentity({ commonName: 'Test CA', ca: true, keys: newRsa() });
  rsa = await makeIdentity({ issuer: ca, keys: newRsa(), commonName: 'RSA device' });
  p256 = await makeIdentity({ issuer: ca, commonName: 'P-256 device' });
  p384 = await makeIdentity({ issuer: ca, keys: newEc('P-384') });
  p521 = await makeIdentity({ issuer: ca, keys: newEc('P-521') });
});

/** A signature of the body as `openssl cms -sign` makes it, in base64. */
function opensslSign(signers: readonly Identity[], ...options: readonly string[]): string {
  const files: Record<string, string | Buffer> = { body, 'ca.pem': ca.pem };
  const signerArgs = signers.flatMap((signer, index) => {
    files[`${index}.pem`] = signer.pem;
    files[`${index}.key`] = pemOfKey(signer.privateKey);
    return ['-signer', `${index}.pem`, '-inkey', `${index}.key`];
  });
  const args = ['cms', '-sign', '-binary', '-in', 'body', '-outform', 'DER', ...signerArgs, ...options];
  return openssl(args, files).toString('base64');
}

function outcome(header: string | undefined, over: Uint8Array = body): string {
  const result = verifyMdmSignature(header, over, cache);
  return result.ok ? result.value.sha256 : result.error.code;
}

describe('verifyMdmSignature: accepted (nanomdm §10 #93)', () => {
  test.each([
    ['RSA, SHA-1 without attributes', () => rsa, ['-md', 'sha1', '-noattr']],
    ['RSA, SHA-256 without attributes', () => rsa, ['-md', 'sha256', '-noattr']],
    ['RSA, SHA-1 with attributes', () => rsa, ['-md', 'sha1']],
    ['RSA, SHA-256 with attributes', () => rsa, ['-md', 'sha256']],
    ['RSA, SHA-384 with attributes', () => rsa, ['-md', 'sha384']],
    ['RSA, SHA-512 with attributes', () => rsa, ['-md', 'sha512']],
    ['P-256, SHA-1', () => p256, ['-md', 'sha1', '-noattr']],
    ['P-256, SHA-256', () => p256, ['-md', 'sha256', '-noattr']],
    ['P-256, SHA-256 with attributes', () => p256, ['-md', 'sha256']],
    ['P-384, SHA-384', () => p384, ['-md', 'sha384']],
    ['P-521, SHA-512', () => p521, ['-md', 'sha512']],
    ['the same content attached', () => rsa, ['-nodetach']],
    ['the CA certificate included', () => rsa, ['-certfile', 'ca.pem']],
    ['S/MIME capabilities left out', () => rsa, ['-nosmimecap']],
    ['indefinite lengths from a streaming writer', () => rsa, ['-nodetach', '-stream']],
  ] as const)('made by openssl: %s; not over another body', (_what, signer, options) => {
    const header = opensslSign([signer()], ...options);
    expect(outcome(header)).toBe(signer().certificate.sha256);
    expect(outcome(header, other)).toBe('cms.signature');
    expect(outcome(header, Buffer.of())).toBe('cms.signature');
  });

  test('a streaming openssl really writes indefinite lengths and a string in pieces (nanomdm §10 #23)', () => {
    const ber = Buffer.from(opensslSign([rsa], '-nodetach', '-stream'), 'base64');
    expect(ber.subarray(0, 2).toString('hex')).toBe('3080');
    expect(ber.includes(Buffer.of(0x24, 0x80, 0x04))).toBe(true);
  });

  test('everything in BER, signed attributes and signature included, still verifies (nanomdm §10 #23, #24)', () => {
    for (const options of [['-noattr'], [], ['-nodetach']]) {
      for (const signer of [rsa, p256]) {
        const der = Buffer.from(opensslSign([signer], '-md', 'sha256', ...options), 'base64');
        const ber = reencodeBer(der, (node) => node.raw.equals(signer.der));
        expect(ber.length).toBeGreaterThan(der.length);
        expect(outcome(ber.toString('base64'))).toBe(signer.certificate.sha256);
        expect(outcome(ber.toString('base64'), other)).toBe('cms.signature');
      }
    }
  });

  test('an empty body can be signed like any other', () => {
    const header = signMdm(Buffer.of(), { privateKey: rsa.privateKey, certificateDer: rsa.der });
    expect(outcome(header, new Uint8Array())).toBe(rsa.certificate.sha256);
    expect(outcome(header)).toBe('cms.signature');
  });

  test('serial number zero and a certificate of a long chain are found by issuer and serial', async () => {
    const odd = await makeIdentity({ issuer: ca, serialNumber: Buffer.of(0) });
    const header = signMdm(body, { ...odd, certificateDer: odd.der, extraCertificates: [ca.der, p256.der] });
    expect(outcome(header)).toBe(odd.certificate.sha256);
    const last = signMdm(body, { ...odd, certificateDer: odd.der });
    expect(outcome(last)).toBe(odd.certificate.sha256);
  });
});

describe('verifyMdmSignature: refused (nanomdm §10 #93)', () => {
  test('missing and empty headers', () => {
    expect(outcome(undefined)).toBe('certificate.missing');
    expect(outcome('')).toBe('certificate.missing');
    expect(verifyMdmSignature(undefined, body, cache)).toMatchObject({
      error: { message: 'missing MDM certificate', status: 400 },
    });
  });

  test('every spelling but canonical padded standard base64', () => {
    const header = signMdm(body, { privateKey: rsa.privateKey, certificateDer: rsa.der, digest: 'sha1' });
    const padded = ['sha1', 'sha256', 'sha384', 'sha512']
      .flatMap((digest) => [opensslSign([p256], '-md', digest), opensslSign([rsa], '-md', digest)])
      .find((candidate) => candidate.endsWith('='));
    expect(padded).toBeDefined();
    expect(outcome(padded?.replace(/=+$/, ''))).toBe('cms.syntax');
    expect(header).toMatch(/[+/]/);
    const urlSafe = header.replaceAll('+', '-').replaceAll('/', '_');
    for (const wrong of [
      'not base64!',
      urlSafe,
      header.slice(0, -1),
      header.slice(0, -3),
      ` ${header}`,
      `${header}\n`,
      `${header.slice(0, 64)}\r\n${header.slice(64)}`,
      `${header}, ${header}`,
      `${header}====`,
      'é',
    ]) {
      expect(outcome(wrong)).toBe('cms.syntax');
    }
  });

  test('good base64 of something cut off, of something else, or followed by more', () => {
    const bytes = Buffer.from(signMdm(body, { privateKey: rsa.privateKey, certificateDer: rsa.der }), 'base64');
    expect(outcome(bytes.subarray(0, -3).toString('base64'))).toBe('der.syntax');
    expect(outcome(Buffer.from('hello').toString('base64'))).toBe('der.syntax');
    expect(outcome(Buffer.concat([bytes, Buffer.of(0)]).toString('base64'))).toBe('der.syntax');
    expect(outcome(rsa.der.toString('base64'))).toBe('cms.syntax');
  });

  test('a header longer than 64 KiB', () => {
    const header = signMdm(body, {
      ...rsa,
      certificateDer: rsa.der,
      extraCertificates: Array.from({ length: 100 }, () => ca.der),
    });
    expect(header.length).toBeGreaterThan(65_536);
    expect(outcome(header)).toBe('cms.syntax');
  });

  test.each([
    ['no embedded certificate', ['-nocerts'], 'certificate.missing'],
    ['a signer named by key identifier', ['-keyid'], 'cms.unsupported'],
    ['RSA-PSS', ['-keyopt', 'rsa_padding_mode:pss'], 'cms.unsupported'],
    ['SHA-224', ['-md', 'sha224'], 'cms.unsupported'],
    ['SHA-224 without attributes', ['-md', 'sha224', '-noattr'], 'cms.unsupported'],
    ['MD5', ['-md', 'md5'], 'cms.unsupported'],
    ['SHA-3', ['-md', 'sha3-256'], 'cms.unsupported'],
    ['another content type', ['-econtent_type', '1.2.840.113549.1.9.16.1.4'], 'cms.unsupported'],
  ] as const)('%s', (_what, options, code) => {
    expect(outcome(opensslSign([rsa], ...options))).toBe(code);
  });

  test('two signers, or none', () => {
    expect(outcome(opensslSign([rsa, p256]))).toBe('cms.unsupported');
    const degenerate = openssl(['crl2pkcs7', '-nocrl', '-certfile', 'a.pem', '-outform', 'DER'], { 'a.pem': rsa.pem });
    expect(outcome(degenerate.toString('base64'))).toBe('cms.unsupported');
  });

  test('attached content that is not the body, even with a signature that fits it', () => {
    for (const indefiniteLength of [false, true]) {
      const header = signMdm(other, { ...rsa, certificateDer: rsa.der, attached: true, indefiniteLength });
      expect(outcome(header, other)).toBe(rsa.certificate.sha256);
      expect(outcome(header, body)).toBe('cms.signature');
    }
  });

  test("another device's certificate put in the signer's place", async () => {
    const twin = await makeIdentity({
      issuer: ca,
      keys: newRsa(),
      commonName: 'RSA device',
      serialNumber: Buffer.from(rsa.certificate.serialNumber, 'hex'),
    });
    const header = signMdm(body, { privateKey: rsa.privateKey, certificateDer: twin.der });
    expect(outcome(header)).toBe('cms.signature');
  });

  test('a key of the other kind, and keys that are not for signatures here', async () => {
    const header = signMdm(body, { privateKey: rsa.privateKey, certificateDer: p256.der });
    expect(outcome(header)).toBe('cms.unsupported');
    const short = await makeIdentity({ issuer: ca, keys: newRsa(768) });
    expect(outcome(signMdm(body, { ...short, certificateDer: short.der }))).toBe('cms.unsupported');
    const curve = await makeIdentity({ issuer: ca, keys: newEc('secp256k1') });
    expect(outcome(signMdm(body, { ...curve, certificateDer: curve.der }))).toBe('cms.unsupported');
  });

  test('a signing time outside the validity of the certificate', async () => {
    const expired = await makeIdentity({ issuer: ca, from: -20, to: -10 });
    const options = { ...expired, certificateDer: expired.der };
    // Expiry itself is for DeviceTrust, which knows of grace; without a signing time there is nothing to compare here.
    expect(outcome(signMdm(body, options))).toBe(expired.certificate.sha256);
    expect(outcome(signMdm(body, { ...options, signedAttributes: true }))).toBe('cms.signature');
  });

  test('signed attributes that do not belong to the body, are reordered or are left out', () => {
    const header = signMdm(body, { ...rsa, certificateDer: rsa.der, signedAttributes: true });
    const bytes = Buffer.from(header, 'base64');
    const signedElsewhere = signMdm(other, { ...rsa, certificateDer: rsa.der, signedAttributes: true });
    expect(outcome(signedElsewhere)).toBe('cms.signature');
    const digestAt = bytes.indexOf(Buffer.from('2a864886f70d010904', 'hex'));
    expect(digestAt).toBeGreaterThan(0);
    const renamed = Buffer.from(bytes);
    renamed[digestAt + 8] = 0x0f;
    expect(outcome(renamed.toString('base64'))).toBe('cms.signature');
    const repeated = Buffer.from(bytes);
    repeated[digestAt + 8] = 0x03;
    expect(outcome(repeated.toString('base64'))).toBe('cms.syntax');
  });

  test('a signature over attributes presented as one over a body', () => {
    const bytes = Buffer.from(opensslSign([rsa], '-md', 'sha256'), 'base64');
    const plain = Buffer.from(opensslSign([rsa], '-md', 'sha256', '-noattr'), 'base64');
    // Graft the signature of the one on the other: same certificate, same algorithms.
    const grafted = Buffer.concat([plain.subarray(0, -256), bytes.subarray(-256)]);
    expect(plain.at(-257)).toBe(bytes.at(-257));
    expect(outcome(grafted.toString('base64'))).toBe('cms.signature');
  });

  test('a digest algorithm that contradicts the signature algorithm', () => {
    const bytes = Buffer.from(signMdm(body, { ...p256, certificateDer: p256.der }), 'base64');
    const at = bytes.lastIndexOf(Buffer.from('608648016503040201', 'hex'));
    bytes[at + 8] = 0x02;
    expect(outcome(bytes.toString('base64'))).toBe('cms.unsupported');
  });
});

describe('verifyMdmSignature and its cache', () => {
  test('the signature is checked every time, also for a certificate that is known', () => {
    const own = new CertificateCache();
    const header = signMdm(body, { ...rsa, certificateDer: rsa.der });
    expect(verifyMdmSignature(header, body, own).ok).toBe(true);
    expect(own.size).toBe(1);
    expect(verifyMdmSignature(header, other, own).ok).toBe(false);
    expect(verifyMdmSignature(header, body, own).ok).toBe(true);
    expect(own.size).toBe(1);
  });

  test('certificates that signed nothing do not enter it', () => {
    const own = new CertificateCache();
    const header = signMdm(body, { ...rsa, certificateDer: rsa.der, extraCertificates: [ca.der, p256.der] });
    expect(verifyMdmSignature(header, body, own).ok).toBe(true);
    expect(own.size).toBe(1);
  });

  test('a certificate in BER is refused: it would be a second hash for the same identity', () => {
    const der = Buffer.from(signMdm(body, { ...rsa, certificateDer: rsa.der }), 'base64');
    const ber = reencodeBer(der, (node) => node.tag === TAG.INTEGER);
    expect(outcome(ber.toString('base64'))).toBe('certificate.missing');
  });
});
