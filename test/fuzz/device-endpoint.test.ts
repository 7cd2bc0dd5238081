import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { PlistValue } from '../../mdm/plist/value.ts';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import { signMdm } from '../../simulator/mdm-signature.ts';
import { countRows } from '../harness/device-rows.ts';
import type { Reply } from '../harness/http-client.ts';
import { SEED } from '../harness/seed.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { CHECK_IN_TYPE, REPORT_TYPE, TestDevice, TOPIC } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';
import { writeBinaryPlist } from '../harness/write-binary-plist.ts';
import { binaryLaughs } from '../mdm/plist/binary-plist.ts';

const test = useTestDatabase();
const server = useTestServer(test, { USER_AUTHENTICATE: 'zero-length' });
let device: TestDevice;
beforeAll(async () => {
  device = await TestDevice.enrolled(server);
});

const types = [CHECK_IN_TYPE, REPORT_TYPE];
/** DeclarativeManagement without a hook is a 500, as the reference says. */
const isTyped = (status: number): boolean => [200, 400, 403, 410, 413].includes(status);

/** Whatever it was: a typed answer, never a 401, and a refusal left no row. */
async function expectTyped(send: () => Promise<Reply>): Promise<number> {
  await server.device.lastSeen.flush();
  const before = await countRows(test.db);
  const { status } = await send();
  await server.device.lastSeen.flush();
  if (!isTyped(status))
    throw new Error(
      `answered ${status}: ${JSON.stringify(server.log.at(-1)?.fields, undefined, 1)} ${server.log.at(-1)?.fields.error}`,
    );
  if (status !== 200) expect({ ...(await countRows(test.db)), last_seen: before.last_seen }).toEqual(before);
  return status;
}

const put = (body: Uint8Array, contentType: string): Promise<number> =>
  expectTyped(() => device.put(body, { contentType }));

/** Cuts, copies, flips and puts in. */
const mutations = fc.array(
  fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), kind: fc.nat(4), byte: fc.nat(255), length: fc.nat(40) }),
  { minLength: 1, maxLength: 4 },
);
type Mutations = typeof mutations extends fc.Arbitrary<infer T> ? T : never;

function mutate(bytes: Buffer, changes: Mutations): Buffer {
  let result = bytes;
  for (const { at, kind, byte, length } of changes) {
    const position = Math.floor(at * result.length);
    const [front, rest] = [result.subarray(0, position), result.subarray(position)];
    if (kind === 0) result = Buffer.concat([front, Buffer.of(byte), rest.subarray(1)]);
    else if (kind === 1) result = Buffer.concat([front, rest.subarray(length)]);
    else if (kind === 2) result = Buffer.concat([front, rest.subarray(0, length), rest]);
    else if (kind === 3) result = Buffer.concat([front, Buffer.alloc(length, byte), rest]);
    else result = front;
  }
  return result;
}

const messages = (): Buffer[] => [
  device.messageOf('Authenticate', { Topic: TOPIC, SerialNumber: 'S', AwaitingConfiguration: true }),
  device.messageOf('TokenUpdate', {
    Topic: TOPIC,
    PushMagic: 'magic',
    Token: Buffer.of(1, 2, 3),
    UnlockToken: Buffer.alloc(90, 7),
  }),
  device.messageOf('UserAuthenticate', { UserID: 'U1', DigestResponse: 'x' }),
  device.messageOf('SetBootstrapToken', { BootstrapToken: Buffer.alloc(100, 1) }),
  device.messageOf('GetToken', { TokenServiceType: 'com.apple.watch.pairing', TokenParameters: { PhoneUDID: 'p' } }),
  device.reportOf('Acknowledged', randomUUID(), {
    ErrorChain: [{ ErrorCode: 1 }],
    QueryResponses: { a: [1, true, new Date(0)] },
  }),
  writeBinaryPlist({ UDID: device.id, Status: 'NotNow', CommandUUID: 'x' }),
  writeBinaryPlist({ UDID: device.id, MessageType: 'TokenUpdate', Topic: 't', PushMagic: 'm', Token: Buffer.of(1) }),
];

describe('hostile bytes behind a good signature', () => {
  it(`messages with mutations (TEST_SEED=${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(7), fc.nat(1), mutations, async (which, type, changes) => {
        await put(mutate(messages()[which] ?? Buffer.of(), changes), types[type] ?? '');
      }),
      { seed: SEED, numRuns: 250 },
    );
  });

  it(`well-formed messages with keys of any type (TEST_SEED=${SEED})`, async () => {
    const keys = [
      'MessageType',
      'UDID',
      'UserID',
      'UserShortName',
      'EnrollmentID',
      'EnrollmentUserID',
      'Topic',
      'PushMagic',
      'Token',
      'UnlockToken',
      'Status',
      'CommandUUID',
      'ErrorChain',
      'SerialNumber',
      'DigestResponse',
      'BootstrapToken',
      'TokenServiceType',
      'TokenParameters',
      'AwaitingConfiguration',
      'DeviceName',
    ];
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.constantFrom(
        'Idle',
        'NotNow',
        'Error',
        'Authenticate',
        'TokenUpdate',
        'CheckOut',
        'GetBootstrapToken',
        device.id,
        `${device.id} `,
        '__proto__',
        '',
        ' ',
      ),
    );
    const value: fc.Arbitrary<PlistValue> = fc.oneof(
      { weight: 6, arbitrary: text },
      { weight: 2, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
      {
        weight: 2,
        arbitrary: fc.oneof(fc.integer(), fc.boolean(), fc.double({ noNaN: true, noDefaultInfinity: true })),
      },
      { weight: 1, arbitrary: fc.array(text, { maxLength: 3 }) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 12 }),
        fc.boolean(),
        fc.nat(1),
        async (dict, isOurs, type) => {
          let body: Buffer;
          try {
            body = writePlist({ ...dict, ...(isOurs && { UDID: device.id }) });
          } catch {
            return; // Characters that XML cannot carry.
          }
          await put(body, types[type] ?? '');
        },
      ),
      { seed: SEED, numRuns: 400 },
    );
  });

  it.each([
    ['nothing', () => Buffer.of()],
    [
      'a billion laughs',
      () =>
        Buffer.from(
          `<!DOCTYPE lolz [<!ENTITY a "lol">${Array.from({ length: 30 }, (_, i) => `<!ENTITY a${i} "${'&a;'.repeat(10)}">`).join('')}]><plist><dict><key>Status</key><string>&a29;</string></dict></plist>`,
        ),
    ],
    [
      'an external entity',
      () =>
        Buffer.from(
          '<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist><dict><key>UDID</key><string>&x;</string></dict></plist>',
        ),
    ],
    ['100,000 levels', () => Buffer.from(`<plist>${'<array>'.repeat(100_000)}`)],
    [
      '100,000 levels, closed',
      () => Buffer.from(`<plist>${'<dict><key>a</key>'.repeat(50_000)}<true/>${'</dict>'.repeat(50_000)}</plist>`),
    ],
    ['two million values', () => Buffer.from(`<plist><array>${'<true/>'.repeat(2_000_000)}</array></plist>`)],
    ['a long key', () => Buffer.from(`<plist><dict><key>${'k'.repeat(1_000_000)}</key><true/></dict></plist>`)],
    ['open tags', () => Buffer.from('<'.repeat(1_000_000))],
    ['an endless comment', () => Buffer.from(`<!--${'-'.repeat(1_000_000)}`)],
    [
      'a long integer',
      () => Buffer.from(`<plist><dict><key>Status</key><integer>${'9'.repeat(1_000_000)}</integer></dict></plist>`),
    ],
    ['binary laughs', () => binaryLaughs(15, 14)],
    ['a binary plist that is its own child', () => binaryLaughs(1, 1).fill(0, 9, 10)],
    ['random bytes', () => Buffer.from(Array.from({ length: 10_000 }, (_, i) => (i * 7919 + SEED) % 256))],
    ['UTF-16', () => Buffer.from('\ufeff<plist><dict/></plist>', 'utf16le')],
    [
      'bad UTF-8',
      () =>
        Buffer.from([
          ...Buffer.from('<plist><dict><key>Status</key><string>'),
          0xc3,
          0x28,
          ...Buffer.from('</string></dict></plist>'),
        ]),
    ],
    [
      'prototype keys',
      () =>
        Buffer.from(
          '<plist><dict><key>__proto__</key><dict><key>Status</key><string>Idle</string><key>UDID</key><string>x</string></dict></dict></plist>',
        ),
    ],
  ])('%s: a refusal', async (_what, make) => {
    for (const type of types) expect(await put(make(), type)).not.toBe(200);
  });
});

describe('hostile signatures', () => {
  it(`mutated: 400, or verified nevertheless (TEST_SEED=${SEED})`, async () => {
    const body = device.reportOf('Idle');
    const good = Buffer.from(signMdm(body, { ...device.identity, signedAttributes: true }), 'base64');
    await fc.assert(
      fc.asyncProperty(mutations, async (changes) => {
        const signature = mutate(good, changes).toString('base64');
        expect([200, 400]).toContain(await expectTyped(() => device.put(body, { signature })));
      }),
      { seed: SEED, numRuns: 250 },
    );
  });

  it(`any text (TEST_SEED=${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.base64String({ maxLength: 5_000 }),
          fc.string({ maxLength: 200 }).map((text) => text.replace(/[^\x20-\x7e]/g, '?')),
        ),
        async (signature) => {
          expect(await expectTyped(() => device.put(device.reportOf('Idle'), { signature }))).toBe(400);
        },
      ),
      { seed: SEED, numRuns: 150 },
    );
  });

  it('nested without end, in DER and BER: 400', async () => {
    const nested = Buffer.alloc(40_000, 0x30);
    for (let i = 1; i < nested.length; i += 2) nested[i] = 0x80;
    const definite = Array.from({ length: 20 }).reduce<Buffer>(
      (inner) => Buffer.concat([Buffer.of(0x30, 0x84, 0, 0, inner.length >> 8, inner.length & 255), inner]),
      Buffer.alloc(100),
    );
    for (const bytes of [nested, definite, Buffer.from('3084ffffffff', 'hex'), Buffer.from('30ff', 'hex')])
      expect(
        await expectTyped(() => device.put(device.reportOf('Idle'), { signature: bytes.toString('base64') })),
      ).toBe(400);
  });
});
