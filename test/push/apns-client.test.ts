import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApnsClient, type ApnsClientOptions, type PushCertificate } from '../../push/apns-client.ts';
import { type FakeApns, startFakeApns } from '../../simulator/fake-apns.ts';
import { makeCertificateFor, makeClientCertificate, makePush, makePushes, TOPIC, until } from './push-fixtures.ts';

const OTHER_TOPIC = 'com.apple.mgmt.External.99999999-2222-3333-4444-555555555555';

let fake: FakeApns;
let certificate: PushCertificate;
const clients: ApnsClient[] = [];

beforeEach(async () => {
  fake = await startFakeApns({ requireClientCertificate: true, maxConcurrentStreams: 100 });
  certificate = await makeCertificateFor(fake);
});

afterEach(async () => {
  await Promise.all([...clients.splice(0).map((client) => client.close()), fake.close()]);
});

function makeClient(options: Partial<ApnsClientOptions> = {}): ApnsClient {
  const client = new ApnsClient({ certificateFor: async () => certificate, certificateHoldMs: 0, ...options });
  clients.push(client);
  return client;
}

describe('one push', () => {
  test('nanomdm §10 #28: path, headers and body are exactly what Apple wants; the result carries apns-id', async () => {
    const push = makePush({ pushMagic: 'a "quoted" \\ magic' });
    const now = Date.parse('2026-11-21T10:00:00Z');
    const [result] = await makeClient({ now: () => now }).send([push]);
    expect(result).toEqual({ id: push.id, outcome: 'sent', status: 200, apnsId: push.apnsId });
    expect(fake.pushes[0]).toMatchObject({
      tokenHex: push.token.toString('hex'),
      apnsId: push.apnsId,
      topic: TOPIC,
      pushMagic: push.pushMagic,
      pushType: 'mdm',
      priority: '10',
      expiration: String(now / 1000 + 7 * 86_400),
    });
  });

  test('nanomdm §10 #32: a refusal has code and reason in its text, and still the apns-id', async () => {
    const push = makePush();
    fake.answerFor(push.token.toString('hex'), { status: 400, reason: 'BadDeviceToken' });
    expect(await makeClient().send([push])).toEqual([
      {
        id: push.id,
        outcome: 'token-suspect',
        status: 400,
        reason: 'BadDeviceToken',
        apnsId: push.apnsId,
        error: 'push HTTP status: 400: APNs push error: BadDeviceToken',
      },
    ]);
  });

  test('a topic that is no header value is refused without harm to the others', async () => {
    const broken = makePush({ topic: `${TOPIC}\r\nx: y` });
    const [bad, good] = await makeClient().send([broken, makePush()]);
    expect(bad).toMatchObject({ id: broken.id, outcome: 'rejected' });
    expect(good?.outcome).toBe('sent');
    expect(fake.counts.received).toBe(1);
  });

  test('an apns-id that is no UUID in lower case is refused here, not by Apple', async () => {
    const [result] = await makeClient().send([makePush({ apnsId: 'ABC' })]);
    expect(result).toMatchObject({ outcome: 'rejected', error: 'the apns-id is no UUID in lower case' });
  });
});

/** apple-protocols §2.3 once more, now over the wire. */
describe('apple-protocols §2.3 through a real connection', () => {
  test.each([
    [400, 'BadDeviceToken', 'token-suspect'],
    [400, 'DeviceTokenNotForTopic', 'token-suspect'],
    [400, 'BadTopic', 'rejected'],
    [400, 'MissingTopic', 'rejected'],
    [400, 'TopicDisallowed', 'rejected'],
    [400, 'BadPriority', 'rejected'],
    [400, 'BadExpirationDate', 'rejected'],
    [400, 'BadMessageId', 'rejected'],
    [400, 'BadCollapseId', 'rejected'],
    [400, 'DuplicateHeaders', 'rejected'],
    [400, 'InvalidPushType', 'rejected'],
    [400, 'PayloadEmpty', 'rejected'],
    [400, 'MissingDeviceToken', 'rejected'],
    [400, 'IdleTimeout', 'retry'],
    [403, 'BadCertificate', 'certificate'],
    [403, 'BadCertificateEnvironment', 'certificate'],
    [403, 'Forbidden', 'certificate'],
    [404, 'BadPath', 'rejected'],
    [405, 'MethodNotAllowed', 'rejected'],
    [410, 'Unregistered', 'token-dead'],
    [410, 'ExpiredToken', 'token-dead'],
    [413, 'PayloadTooLarge', 'rejected'],
    [429, 'TooManyRequests', 'retry'],
    [500, 'InternalServerError', 'retry'],
    [503, 'ServiceUnavailable', 'retry'],
    [503, 'Shutdown', 'retry'],
  ] as const)('%i %s is %s, and the next push goes through', async (status, reason, outcome) => {
    const client = makeClient();
    const push = makePush();
    fake.answerFor(push.token.toString('hex'), { status, reason, retryAfter: 77 });
    const [result] = await client.send([push]);
    expect(result).toMatchObject({ id: push.id, outcome, status, reason });
    expect(result?.retryAfterMs).toBe(outcome === 'retry' ? 77_000 : undefined);
    expect(await client.send([makePush()])).toMatchObject([{ outcome: 'sent' }]);
  });

  test('503 and IdleTimeout are followed by another connection, other refusals are not', async () => {
    const client = makeClient();
    await client.send([makePush()]);
    fake.answerNext(1, { status: 429, reason: 'TooManyRequests' });
    await client.send([makePush()]);
    await client.send([makePush()]);
    expect(fake.counts.sessions).toBe(1);
    fake.answerNext(1, { status: 503, reason: 'Shutdown' });
    await client.send([makePush()]);
    await client.send([makePush()]);
    expect(fake.counts.sessions).toBe(2);
    fake.answerNext(1, { status: 400, reason: 'IdleTimeout' });
    await client.send([makePush()]);
    await client.send([makePush()]);
    expect(fake.counts.sessions).toBe(3);
  });

  test('an unregistered token is dead since the time that Apple gives', async () => {
    const push = makePush();
    fake.register(push.token.toString('hex'), { topic: TOPIC, pushMagic: push.pushMagic });
    fake.unregister(push.token.toString('hex'), 1_700_000_000_000);
    expect(await makeClient().send([push])).toMatchObject([
      { outcome: 'token-dead', deadSince: new Date(1_700_000_000_000), reason: 'Unregistered' },
    ]);
  });

  test('bodies that are no JSON, endless or cut are answers all the same', async () => {
    const client = makeClient();
    const bodies = [
      '',
      '<html>',
      'null',
      '[]',
      '"x"',
      '{"reason":1}',
      '{"reason":',
      'x'.repeat(100_000),
      Buffer.alloc(99, 255),
    ];
    for (const body of bodies) {
      fake.answerNext(1, { status: 400, body });
      const [result] = await client.send([makePush()]);
      expect(result).toMatchObject({ outcome: 'rejected', status: 400 });
      expect(result?.error).toContain('push HTTP status: 400: decoding JSON push error');
    }
    expect(fake.counts.sessions).toBe(1);
  });
});

describe('many pushes', () => {
  test('nanomdm §10 #29 and #30: each push has its result, in order; none gives none', async () => {
    const pushes = makePushes(50);
    const results = await makeClient().send(pushes);
    expect(results.map(({ id }) => id)).toEqual(pushes.map(({ id }) => id));
    expect(new Set(fake.pushes.map(({ tokenHex }) => tokenHex))).toEqual(
      new Set(pushes.map(({ token }) => token.toString('hex'))),
    );
    expect(await makeClient().send([])).toEqual([]);
  });

  test('2,000 pushes go over one connection, never more at a time than the peer allows', async () => {
    const results = await makeClient().send(makePushes(2000));
    expect(results.filter(({ outcome }) => outcome === 'sent')).toHaveLength(2000);
    expect(fake.counts).toMatchObject({ sessions: 1, received: 2000, accepted: 2000 });
    expect(fake.counts.mostUnanswered).toBeLessThanOrEqual(100);
    expect(fake.counts.mostUnanswered).toBeGreaterThan(50);
  });

  test('pushes that share a token keep separate results (NanoMDM keeps one, nanomdm §5.2)', async () => {
    const first = makePush();
    const second = makePush({ token: first.token });
    fake.answerNext(1, { status: 410, reason: 'Unregistered', timestamp: 1 });
    const results = await makeClient().send([first, second]);
    expect(results).toMatchObject([
      { id: first.id, outcome: 'token-dead', apnsId: first.apnsId },
      { id: second.id, outcome: 'sent', apnsId: second.apnsId },
    ]);
    expect(fake.pushes.map(({ pushMagic }) => pushMagic)).toEqual([first.pushMagic, second.pushMagic]);
  });

  test('nanomdm §10 #71: a known and an unknown token, one delivered, one refused', async () => {
    const [known, unknown] = [makePush(), makePush()];
    fake.register(known.token.toString('hex'), { topic: TOPIC, pushMagic: known.pushMagic });
    expect(await makeClient().send([known, unknown])).toMatchObject([
      { outcome: 'sent' },
      { outcome: 'token-suspect', reason: 'BadDeviceToken' },
    ]);
    expect(fake.counts.delivered).toBe(1);
  });
});

describe('certificates', () => {
  test('topics go over connections of their own, each with its certificate', async () => {
    const other = await makeCertificateFor(fake, OTHER_TOPIC);
    const client = makeClient({ certificateFor: async (topic) => (topic === TOPIC ? certificate : other) });
    const pushes = [makePush(), makePush({ topic: OTHER_TOPIC }), makePush()];
    expect((await client.send(pushes)).map(({ outcome }) => outcome)).toEqual(['sent', 'sent', 'sent']);
    expect(fake.counts.sessions).toBe(2);
  });

  test('nanomdm §10 #72: a topic without certificate fails whole, the others are still pushed to', async () => {
    const client = makeClient({ certificateFor: async (topic) => (topic === TOPIC ? certificate : undefined) });
    const [bad, good] = await client.send([makePush({ topic: OTHER_TOPIC }), makePush()]);
    expect(bad).toMatchObject({
      outcome: 'certificate',
      error: `retrieving push cert for topic "${OTHER_TOPIC}": sql: no rows in result set`,
    });
    expect(good?.outcome).toBe('sent');
  });

  test('a store that cannot be read is no missing certificate: the push is tried again', async () => {
    let isAway = true;
    const client = makeClient({
      certificateFor: async () => {
        if (isAway) {
          throw new Error('connection lost');
        }
        return certificate;
      },
    });
    expect(await client.send([makePush()])).toMatchObject([
      { outcome: 'retry', error: `retrieving push cert for topic "${TOPIC}": connection lost` },
    ]);
    isAway = false;
    expect(await client.send([makePush()])).toMatchObject([{ outcome: 'sent' }]);
  });

  test('the certificate of another topic is refused by Apple', async () => {
    certificate = await makeCertificateFor(fake, OTHER_TOPIC);
    expect(await makeClient().send([makePush()])).toMatchObject([{ outcome: 'rejected', reason: 'TopicDisallowed' }]);
  });

  test.each([
    ['no PEM', async () => ({ certificatePem: 'x', privateKeyPem: 'y' })],
    [
      'a key of another certificate',
      async () => ({
        ...(await makeClientCertificate()),
        privateKeyPem: (await makeClientCertificate()).privateKeyPem,
      }),
    ],
    ['no URL', async () => ({ url: 'not a url' })],
  ])('%s: outcome certificate, nothing thrown, nothing connected', async (_what, damage) => {
    certificate = { ...certificate, ...(await damage()) };
    const [result] = await makeClient().send([makePush()]);
    expect(result?.outcome).toBe('certificate');
    expect(result?.error).toMatch(/^creating new push provider: /);
    expect(fake.counts.sessions).toBe(0);
  });

  test('a certificate that Apple refuses is not tried again until it is replaced', async () => {
    const client = makeClient({ certificateHoldMs: 3_600_000, certificateTtlMs: 0 });
    fake.answerNext(1, { status: 403, reason: 'BadCertificate' });
    await client.send([makePush()]);
    const [held] = await client.send([makePush()]);
    expect(held).toMatchObject({
      outcome: 'certificate',
      error: 'push HTTP status: 403: APNs push error: BadCertificate',
    });
    expect(held?.apnsId).toBeUndefined();
    expect(fake.counts.received).toBe(1);
    certificate = await makeCertificateFor(fake, TOPIC, 2);
    expect(await client.send([makePush()])).toMatchObject([{ outcome: 'sent' }]);
  });

  test('replaced mid-way: pushes under way finish on the old connection, new ones take a new one', async () => {
    const client = makeClient({ certificateTtlMs: 0 });
    fake.silence('all');
    const underWay = client.send(makePushes(150));
    await until(() => fake.counts.unanswered === 100, 'the first 100 pushes arrive');
    certificate = await makeCertificateFor(fake, TOPIC, 2);
    const later = client.send(makePushes(10));
    await until(() => fake.counts.unanswered === 110, 'the new connection is used');
    expect(fake.counts.openSessions).toBe(2);
    fake.speak();
    const outcomes = [...(await underWay), ...(await later)].map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === 'sent')).toHaveLength(160);
    await until(() => fake.counts.openSessions === 1, 'the old connection closes');
  });

  test('the store is asked once for many pushes and calls within the time to live', async () => {
    let asked = 0;
    let now = 0;
    const client = makeClient({
      now: () => now,
      certificateTtlMs: 3000,
      certificateFor: async () => {
        asked += 1;
        return certificate;
      },
    });
    await Promise.all([client.send(makePushes(20)), client.send(makePushes(20))]);
    expect(asked).toBe(1);
    now = 3001;
    await client.send([makePush()]);
    expect(asked).toBe(2);
    expect(fake.counts.sessions).toBe(1);
  });
});

describe('closing', () => {
  test('what is under way is answered; later pushes are for another time', async () => {
    const client = makeClient();
    fake.silence('all');
    const underWay = client.send(makePushes(3));
    await until(() => fake.counts.unanswered === 3, 'three pushes arrive');
    const closed = client.close();
    fake.speak();
    expect((await underWay).map(({ outcome }) => outcome)).toEqual(['sent', 'sent', 'sent']);
    await closed;
    await until(() => fake.counts.openSessions === 0, 'the connection closes');
    expect(await client.send([makePush()])).toMatchObject([{ outcome: 'retry' }]);
  });
});
