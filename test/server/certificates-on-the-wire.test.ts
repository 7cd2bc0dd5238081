import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import { type MdmSignatureOptions, signMdm } from '../../simulator/mdm-signature.ts';
import { countRows } from '../harness/device-rows.ts';
import type { Reply } from '../harness/http-client.ts';
import { useTestFolder } from '../harness/test-authority.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { CHECK_IN_TYPE } from '../harness/test-device.ts';
import { type TestServer, useTestServer } from '../harness/test-server.ts';
import {
  type CertificateOptions,
  type Identity,
  makeIdentity,
  newRsa,
  sharedRsa,
} from '../mdm/certificates/make-certificate.ts';
import { openssl, pemOfKey } from '../mdm/cms/openssl.ts';

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const ANY_USAGE = '2.5.29.37.0';

const test = useTestDatabase();
const folder = useTestFolder();
let ca: Identity;
let rsa: Identity;
beforeAll(async () => {
  ca = await makeIdentity({ commonName: 'Test CA', ca: true, keys: newRsa() });
  rsa = await makeIdentity({ issuer: ca, keys: sharedRsa(), ekus: [CLIENT_AUTH] });
});
const caFile = (): string => folder.write('ca.pem', ca.pem);
const server = useTestServer(test, async () => ({ CA_FILE: caFile() }));
const behindProxy = useTestServer(test, async () => ({
  CA_FILE: caFile(),
  CERT_HEADER: 'X-Client-Cert',
  TRUST_PROXY: 'loopback',
}));
const distrustful = useTestServer(test, async () => ({
  CA_FILE: caFile(),
  CERT_HEADER: 'X-Client-Cert',
  TRUST_PROXY: '10.0.0.0/8',
}));

/** An Authenticate is accepted from any certificate that is in order: 200 says that it was. */
const authenticate = (): Buffer => writePlist({ MessageType: 'Authenticate', UDID: randomUUID(), Topic: 't' });
const put = (to: TestServer, body: Buffer, headers: Readonly<Record<string, string | string[]>>): Promise<Reply> =>
  to.http.send('/mdm', { method: 'PUT', body, headers: { 'Content-Type': CHECK_IN_TYPE, ...headers } });

/** Each identity enrolls a device of its own: a certificate belongs to one. */
async function signed(identity: Identity, options: Partial<MdmSignatureOptions> = {}): Promise<number> {
  const body = authenticate();
  const signature = signMdm(body, { privateKey: identity.privateKey, certificateDer: identity.der, ...options });
  return (await put(server, body, { 'Mdm-Signature': signature })).status;
}

async function opensslSigned(
  identity: Identity,
  args: readonly string[],
  more: readonly Identity[] = [],
): Promise<number> {
  const body = authenticate();
  const signers = [identity, ...more];
  const files: Record<string, string | Buffer> = { body };
  const signerArgs = signers.flatMap((signer, index) => {
    files[`${index}.pem`] = signer.pem;
    files[`${index}.key`] = pemOfKey(signer.privateKey);
    return ['-signer', `${index}.pem`, '-inkey', `${index}.key`];
  });
  const header = openssl(['cms', '-sign', '-binary', '-in', 'body', '-outform', 'DER', ...signerArgs, ...args], files);
  return (await put(server, body, { 'Mdm-Signature': header.toString('base64') })).status;
}

const issue = (options: CertificateOptions = {}): Promise<Identity> =>
  makeIdentity({ issuer: ca, ekus: [CLIENT_AUTH], ...options });
const issueRsa = (): Promise<Identity> => issue({ keys: sharedRsa() });

describe('nanomdm §10 #93: Mdm-Signature', () => {
  it('is accepted in every form that devices send', async () => {
    expect({
      'RSA, SHA-1 without attributes': await signed(await issueRsa(), { digest: 'sha1' }),
      'RSA, SHA-256 with attributes': await signed(await issueRsa(), { signedAttributes: true }),
      'RSA, SHA-512 with attributes': await signed(await issueRsa(), { digest: 'sha512', signedAttributes: true }),
      'P-256, SHA-1': await signed(await issue(), { digest: 'sha1' }),
      'P-256, SHA-256': await signed(await issue()),
      'BER of indefinite length': await signed(await issueRsa(), { indefiniteLength: true }),
      'the same content attached': await signed(await issueRsa(), { attached: true }),
      'the CA certificate included': await signed(await issueRsa(), { extraCertificates: [ca.der] }),
      'made by openssl': await opensslSigned(await issueRsa(), ['-md', 'sha256']),
    }).toEqual(expect.toSatisfy((statuses: object) => Object.values(statuses).every((status) => status === 200)));
  });

  it('is refused with 400 in every other, and nothing is written', async () => {
    const before = await countRows(test.db);
    const body = authenticate();
    const good = signMdm(body, { privateKey: rsa.privateKey, certificateDer: rsa.der, signedAttributes: true });
    const bytes = Buffer.from(good, 'base64');
    const headers: Record<string, Record<string, string | string[]>> = {
      missing: {},
      empty: { 'Mdm-Signature': '' },
      'bad base64': { 'Mdm-Signature': '%%%' },
      'URL-safe base64': { 'Mdm-Signature': bytes.toString('base64url') },
      unpadded: {
        'Mdm-Signature': Buffer.concat([bytes, Buffer.of(0)])
          .toString('base64')
          .replace(/=+$/, ''),
      },
      truncated: { 'Mdm-Signature': good.slice(0, -8) },
      'bad DER': { 'Mdm-Signature': Buffer.from('not DER').toString('base64') },
      'first header bad, second good': { 'Mdm-Signature': ['%%%', good] },
    };
    for (const [what, header] of Object.entries(headers))
      expect([what, (await put(server, body, header)).status]).toEqual([what, 400]);
    const tampered = Buffer.from(body.toString().replace('<string>t</string>', '<string>u</string>'));
    expect((await put(server, tampered, { 'Mdm-Signature': good })).status).toBe(400);
    const attached = signMdm(tampered, { privateKey: rsa.privateKey, certificateDer: rsa.der, attached: true });
    expect((await put(server, body, { 'Mdm-Signature': attached })).status).toBe(400);
    expect({
      'no embedded certificate': await opensslSigned(rsa, ['-nocerts']),
      'signer by key id': await opensslSigned(rsa, ['-keyid']),
      PSS: await opensslSigned(rsa, ['-keyopt', 'rsa_padding_mode:pss']),
      'SHA-224': await opensslSigned(rsa, ['-md', 'sha224']),
      MD5: await opensslSigned(rsa, ['-md', 'md5']),
      'two signers': await opensslSigned(rsa, [], [await issue()]),
    }).toEqual(expect.toSatisfy((statuses: object) => Object.values(statuses).every((status) => status === 400)));
    expect(await countRows(test.db)).toEqual(before);
  });
});

describe('nanomdm §10 #94: the certificate behind a signature', () => {
  it('must be of a known authority, in its time, and for clients', async () => {
    const otherCa = await makeIdentity({ commonName: 'Test CA', ca: true });
    expect({
      'serverAuth only': await signed(await issue({ ekus: [SERVER_AUTH] })),
      expired: await signed(await issue({ from: -20, to: -1 })),
      'not yet valid': await signed(await issue({ from: 1, to: 2 })),
      'another CA of the same name': await signed(await issue({ issuer: otherCa })),
      'another CA, sent along': await signed(await issue({ issuer: otherCa }), { extraCertificates: [otherCa.der] }),
      'self-signed': await signed(await makeIdentity({ commonName: 'Test CA' })),
    }).toEqual(expect.toSatisfy((statuses: object) => Object.values(statuses).every((status) => status === 400)));
    expect({
      'no usage': await signed(await makeIdentity({ issuer: ca })),
      'any usage': await signed(await issue({ ekus: [ANY_USAGE] })),
      'clientAuth and serverAuth': await signed(await issue({ ekus: [SERVER_AUTH, CLIENT_AUTH] })),
    }).toEqual(expect.toSatisfy((statuses: object) => Object.values(statuses).every((status) => status === 200)));
  });
});

describe('nanomdm §10 #95: the certificate in the header of a trusted proxy', () => {
  const send = async (value: string | string[] | undefined, to: TestServer = behindProxy): Promise<number> =>
    (await put(to, authenticate(), value === undefined ? {} : { 'X-Client-Cert': value })).status;
  const rfc9440 = (der: Buffer): string => `:${der.toString('base64')}:`;

  it('is read as URL-escaped PEM and as RFC 9440', async () => {
    const [escaped, nginx, two, structured] = [await issue(), await issue(), await issue(), await issue()];
    expect(await send(encodeURIComponent(escaped.pem))).toBe(200);
    expect(await send(nginx.pem.replaceAll('+', '%2B').replaceAll('\n', '%0A').replaceAll(' ', '%20'))).toBe(200);
    // The second one is not looked at: it could not be read.
    expect(
      await send(encodeURIComponent(`${two.pem}-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n`)),
    ).toBe(200);
    expect(await send(rfc9440(structured.der))).toBe(200);
  });

  it('nanomdm §10 #94: of two headers the first counts', async () => {
    const [first, second] = [await issue(), await issue()];
    expect(await send([rfc9440(first.der), rfc9440(second.der)])).toBe(200);
    // `first` belongs to a device now, `second` to nobody yet.
    expect(await send([rfc9440(first.der), rfc9440(second.der)])).toBe(403);
    expect(await send(rfc9440(second.der))).toBe(200);
    expect(await send(['', rfc9440((await issue()).der)])).toBe(400);
  });

  it.each([
    ['no header', undefined],
    ['nanomdm §10 #19: empty', ''],
    ['nanomdm §10 #19: a colon', ':'],
    ['nanomdm §10 #19: no base64', ':INVALID:'],
    ['nanomdm §10 #20: a broken escape', '%GK'],
    ['nanomdm §10 #20: no PEM', 'INVALID'],
  ])('%s: 400', async (_what, value) => {
    expect(await send(value)).toBe(400);
  });

  it('RFC 9440 around PEM text: 400', async () => {
    expect(await send(rfc9440(Buffer.from((await issue()).pem)))).toBe(400);
  });

  it('turns Mdm-Signature off', async () => {
    const body = authenticate();
    const identity = await issue();
    const signature = signMdm(body, { privateKey: identity.privateKey, certificateDer: identity.der });
    expect((await put(behindProxy, body, { 'Mdm-Signature': signature })).status).toBe(400);
    // And the other way round: without CERT_HEADER the header is worth nothing.
    expect(await send(rfc9440(identity.der), server)).toBe(400);
  });

  it('counts only from an address that the operator named', async () => {
    // The reference believes anybody. 403, never 401.
    expect(await send(rfc9440((await issue()).der), distrustful)).toBe(403);
  });

  it('is checked like any other certificate', async () => {
    expect(await send(rfc9440((await issue({ from: -20, to: -1 })).der))).toBe(400);
    expect(await send(rfc9440((await issue({ ekus: [SERVER_AUTH] })).der))).toBe(400);
  });
});
