import { beforeAll, describe, expect, test } from 'vitest';
import { DeviceTrust, type DeviceTrustOptions } from '../../../mdm/certificates/device-trust.ts';
import { readCertificate } from '../../../mdm/certificates/read-certificate.ts';
import { KEY_USAGE, writeExtension } from '../../../mdm/certificates/write-certificate.ts';
import { OID } from '../../../mdm/cms/oids.ts';
import { writeNull } from '../../../mdm/cms/write-der.ts';
import { openssl, pemOfKey } from '../cms/openssl.ts';
import { type CertificateOptions, type Identity, makeIdentity, newEc, newRsa } from './make-certificate.ts';

const DAY_MS = 86_400_000;
let ca: Identity;

beforeAll(async () => {
  ca = await makeIdentity({ commonName: 'Own CA', ca: { pathLength: 0 }, keys: newRsa() });
});

/** Whether a chain leads to its end, by our own authority or another, or why not. */
function verdict(device: Identity, options: DeviceTrustOptions): string {
  const result = new DeviceTrust(options).check(device.certificate);
  if (!result.ok) return result.error.code;
  return result.value.issuedByOwnCa ? 'own' : 'other';
}

const issued = (options: CertificateOptions = {}): Promise<Identity> => makeIdentity({ issuer: ca, ...options });

describe('DeviceTrust (nanomdm §10 #94)', () => {
  test.each([
    ['clientAuth', { ekus: [OID.clientAuth] }, 'own'],
    ['clientAuth among others', { ekus: [OID.serverAuth, OID.clientAuth] }, 'own'],
    ['no extended key usage', {}, 'own'],
    ['any extended key usage', { ekus: [OID.anyExtendedKeyUsage] }, 'own'],
    ['serverAuth only', { ekus: [OID.serverAuth] }, 'certificate.usage'],
    ['expired', { from: -10, to: -1 }, 'certificate.expired'],
    ['not valid yet', { from: 1, to: 10 }, 'certificate.expired'],
    [
      'a critical extension that nobody understands',
      { extensions: [writeExtension('1.2.3.4', true, writeNull())] },
      'certificate.untrusted',
    ],
    ['an extension that nobody understands', { extensions: [writeExtension('1.2.3.4', false, writeNull())] }, 'own'],
  ] as const)('%s → %s', async (_what, options, expected) => {
    expect(verdict(await issued(options), { ownCaPem: ca.pem })).toBe(expected);
  });

  test('another CA, the same name with another key, self-signed, and the CA itself', async () => {
    const otherCa = await makeIdentity({ commonName: 'Other CA', ca: true });
    const impostor = await makeIdentity({ commonName: 'Own CA', ca: true, keys: newRsa() });
    expect(verdict(await issued({ issuer: otherCa }), { ownCaPem: ca.pem })).toBe('certificate.untrusted');
    expect(verdict(await issued({ issuer: impostor }), { ownCaPem: ca.pem })).toBe('certificate.untrusted');
    expect(verdict(await makeIdentity(), { ownCaPem: ca.pem })).toBe('certificate.untrusted');
    expect(verdict(ca, { ownCaPem: ca.pem })).toBe('certificate.untrusted');
    expect(verdict(await issued(), {})).toBe('certificate.untrusted');
    // Both authorities of one name in the bundles: each finds its own (our form of nanomdm §10 #22).
    const both = { ownCaPem: ca.pem, rootsPem: [impostor.pem] };
    expect(verdict(await issued(), both)).toBe('own');
    expect(verdict(await issued({ issuer: impostor }), both)).toBe('other');
  });

  test('a certificate whose signature was touched', async () => {
    const device = await issued();
    const der = Buffer.from(device.der);
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    const changed = readCertificate(der);
    if (!changed.ok) throw changed.error;
    expect(new DeviceTrust({ ownCaPem: ca.pem }).check(changed.value)).toMatchObject({
      error: { code: 'certificate.untrusted' },
    });
  });

  test('a device certificate signs nothing: neither without CA:TRUE nor without keyCertSign', async () => {
    const plain = await issued({ keyUsage: KEY_USAGE.digitalSignature });
    const deviceBelow = await makeIdentity({ issuer: plain });
    expect(verdict(deviceBelow, { ownCaPem: ca.pem, intermediatesPem: [plain.pem] })).toBe('certificate.untrusted');
    expect(verdict(deviceBelow, { rootsPem: [plain.pem] })).toBe('certificate.untrusted');
    const unmarked = await issued({ commonName: 'Unmarked' });
    expect(verdict(await makeIdentity({ issuer: unmarked }), { rootsPem: [unmarked.pem] })).toBe(
      'certificate.untrusted',
    );
    const noSign = await makeIdentity({ commonName: 'No sign', ca: true, keyUsage: KEY_USAGE.digitalSignature });
    expect(verdict(await makeIdentity({ issuer: noSign }), { rootsPem: [noSign.pem] })).toBe('certificate.untrusted');
    const sign = await makeIdentity({ commonName: 'Sign', ca: true, keyUsage: KEY_USAGE.keyCertSign });
    expect(verdict(await makeIdentity({ issuer: sign }), { rootsPem: [sign.pem] })).toBe('other');
  });

  test('intermediates: found in their bundle, bound by the path length, their own expiry and usage', async () => {
    const root = await makeIdentity({ commonName: 'Root', ca: { pathLength: 1 } });
    const middle = await makeIdentity({ commonName: 'Middle', ca: true, issuer: root });
    const deeper = await makeIdentity({ commonName: 'Deeper', ca: true, issuer: middle });
    const device = await makeIdentity({ issuer: middle });
    expect(verdict(device, { rootsPem: [root.pem] })).toBe('certificate.untrusted');
    expect(verdict(device, { rootsPem: [root.pem], intermediatesPem: [middle.pem] })).toBe('other');
    expect(verdict(device, { rootsPem: [`${ca.pem}\n${root.pem}`], intermediatesPem: [ca.pem, middle.pem] })).toBe(
      'other',
    );
    expect(verdict(device, { intermediatesPem: [middle.pem] })).toBe('certificate.untrusted');
    // An intermediate that is itself a root may end the chain.
    expect(verdict(device, { rootsPem: [middle.pem] })).toBe('other');
    const tooDeep = await makeIdentity({ issuer: deeper });
    const all = { rootsPem: [root.pem], intermediatesPem: [middle.pem + deeper.pem] };
    expect(verdict(tooDeep, all)).toBe('certificate.untrusted');

    const expired = await makeIdentity({ commonName: 'Expired', ca: true, issuer: root, from: -9, to: -1 });
    const below = await makeIdentity({ issuer: expired });
    expect(verdict(below, { rootsPem: [root.pem], intermediatesPem: [expired.pem], graceDays: 30 })).toBe(
      'certificate.expired',
    );
    const webOnly = await makeIdentity({ commonName: 'Web', ca: true, issuer: root, ekus: [OID.serverAuth] });
    const web = await makeIdentity({ issuer: webOnly, ekus: [OID.clientAuth] });
    expect(verdict(web, { rootsPem: [root.pem], intermediatesPem: [webOnly.pem] })).toBe('certificate.usage');
  });

  test('an expired intermediate does not hide its renewed twin', async () => {
    const root = await makeIdentity({ commonName: 'Root', ca: true });
    const keys = newEc();
    const old = await makeIdentity({ commonName: 'Middle', ca: true, issuer: root, keys, from: -9, to: -1 });
    const renewed = await makeIdentity({ commonName: 'Middle', ca: true, issuer: root, keys });
    const device = await makeIdentity({ issuer: old });
    expect(verdict(device, { rootsPem: [root.pem], intermediatesPem: [old.pem, renewed.pem] })).toBe('other');
    expect(verdict(device, { rootsPem: [old.pem, renewed.pem] })).toBe('other');
    expect(verdict(device, { ownCaPem: old.pem + renewed.pem })).toBe('own');
    expect(verdict(device, { ownCaPem: old.pem })).toBe('certificate.expired');
  });

  test('eight links at most, and loops end', async () => {
    const chain = [await makeIdentity({ commonName: 'A0', ca: true })];
    for (let index = 1; index <= 7; index += 1) {
      const issuer = chain.at(-1);
      if (issuer) chain.push(await makeIdentity({ commonName: `A${index}`, ca: true, issuer }));
    }
    const [root, ...rest] = chain;
    if (!root) throw new Error('no root');
    const options = { rootsPem: [root.pem], intermediatesPem: rest.map((link) => link.pem) };
    const [eighth, ninth] = [chain[6], chain[7]];
    if (!eighth || !ninth) throw new Error('no chain');
    expect(verdict(await makeIdentity({ issuer: eighth }), options)).toBe('other');
    expect(verdict(await makeIdentity({ issuer: ninth }), options)).toBe('certificate.untrusted');

    const keysA = newEc();
    const a = await makeIdentity({ commonName: 'A', ca: true, keys: keysA });
    const b = await makeIdentity({ commonName: 'B', ca: true, issuer: a });
    const aByB = await makeIdentity({ commonName: 'A', ca: true, issuer: b, keys: keysA });
    const device = await makeIdentity({ issuer: aByB });
    expect(verdict(device, { intermediatesPem: [b.pem, aByB.pem] })).toBe('certificate.untrusted');
    expect(verdict(device, { rootsPem: [ca.pem], intermediatesPem: [b.pem, aByB.pem, a.pem] })).toBe(
      'certificate.untrusted',
    );
    expect(verdict(device, { rootsPem: [a.pem], intermediatesPem: [b.pem, aByB.pem] })).toBe('other');
  });

  test('a certificate signed with SHA-1 is not trusted; with SHA-384 and by Ed25519 it is', async () => {
    const key = pemOfKey(ca.privateKey);
    const csr = openssl(['req', '-new', '-key', 'key', '-subj', '/CN=device'], { key: pemOfKey(newEc().privateKey) });
    const sign = (digest: string, files: Record<string, string | Buffer>): Identity => {
      const args = [
        'x509',
        '-req',
        '-in',
        'csr',
        '-CA',
        'ca',
        '-CAkey',
        'key',
        '-set_serial',
        '7',
        '-outform',
        'DER',
        '-days',
        '9',
      ];
      const certificate = readCertificate(openssl([...args, ...(digest ? [digest] : [])], { csr, ...files }));
      if (!certificate.ok) throw certificate.error;
      return { ...ca, certificate: certificate.value };
    };
    const now = () => new Date(Date.now() + 60_000);
    expect(verdict(sign('-sha1', { ca: ca.pem, key }), { ownCaPem: ca.pem, now })).toBe('certificate.untrusted');
    expect(verdict(sign('-sha384', { ca: ca.pem, key }), { ownCaPem: ca.pem, now })).toBe('own');
    const edKey = openssl(['genpkey', '-algorithm', 'ed25519']).toString();
    const edCa = openssl(['req', '-x509', '-new', '-key', 'key', '-subj', '/CN=Ed'], { key: edKey }).toString();
    expect(verdict(sign('', { ca: edCa, key: edKey }), { rootsPem: [edCa], now })).toBe('other');
  });
});

describe('DeviceTrust in time', () => {
  test('grace is for the device, and ends', async () => {
    const device = await issued({ from: -30, to: -3 });
    expect(verdict(device, { ownCaPem: ca.pem })).toBe('certificate.expired');
    expect(verdict(device, { ownCaPem: ca.pem, graceDays: 2 })).toBe('certificate.expired');
    expect(verdict(device, { ownCaPem: ca.pem, graceDays: 4 })).toBe('own');
    const oldCa = await makeIdentity({ commonName: 'Old CA', ca: true, from: -30, to: -3 });
    expect(verdict(await makeIdentity({ issuer: oldCa }), { ownCaPem: oldCa.pem, graceDays: 4 })).toBe(
      'certificate.expired',
    );
  });

  test('a kept verdict does not outlive the certificate', async () => {
    let now = new Date();
    const device = await issued({ to: 1 });
    const trust = new DeviceTrust({ ownCaPem: ca.pem, now: () => now });
    now = new Date(device.certificate.notAfter.getTime() - 1000);
    expect(trust.check(device.certificate).ok).toBe(true);
    now = device.certificate.notAfter;
    expect(trust.check(device.certificate).ok).toBe(true);
    now = new Date(device.certificate.notAfter.getTime() + 1);
    expect(trust.check(device.certificate)).toMatchObject({ error: { code: 'certificate.expired' } });
  });

  test('a kept verdict does not outlive its authority, nor a clock set back', async () => {
    let now = new Date();
    const shortCa = await makeIdentity({ commonName: 'Short', ca: true, to: 1 });
    const device = await makeIdentity({ issuer: shortCa, to: 100 });
    const trust = new DeviceTrust({ rootsPem: [shortCa.pem], now: () => now });
    now = new Date(shortCa.certificate.notAfter.getTime() - 10);
    expect(trust.check(device.certificate).ok).toBe(true);
    now = new Date(now.getTime() + 20);
    expect(trust.check(device.certificate).ok).toBe(false);
    now = new Date(device.certificate.notBefore.getTime() - DAY_MS);
    expect(trust.check(device.certificate).ok).toBe(false);
  });

  test('replacing the authorities takes effect at once, and not at all when they are malformed', async () => {
    const device = await issued();
    const trust = new DeviceTrust({ ownCaPem: ca.pem });
    expect(trust.check(device.certificate).ok).toBe(true);
    expect(() => trust.replace({ ownCaPem: 'rubbish' })).toThrow();
    expect(trust.check(device.certificate).ok).toBe(true);
    trust.replace({ rootsPem: [ca.pem] });
    expect(trust.check(device.certificate)).toEqual({ ok: true, value: { issuedByOwnCa: false } });
    trust.replace({});
    expect(trust.check(device.certificate).ok).toBe(false);
  });

  test('malformed bundles are refused when they are configured', () => {
    for (const bundle of [
      'rubbish',
      '-----BEGIN CERTIFICATE-----\n',
      pemOfKey(ca.privateKey),
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
    ]) {
      expect(() => new DeviceTrust({ rootsPem: [bundle] })).toThrow(
        expect.objectContaining({ code: 'certificate.syntax' }),
      );
    }
    expect(() => new DeviceTrust({ ownCaPem: '', rootsPem: [] })).not.toThrow();
  });
});
