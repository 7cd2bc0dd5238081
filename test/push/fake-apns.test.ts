import { randomUUID } from 'node:crypto';
import http2 from 'node:http2';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FakeApns, startFakeApns } from '../../simulator/fake-apns.ts';
import { makeClientCertificate, TOPIC } from './push-fixtures.ts';

const TOKEN = 'ab'.repeat(32);
let fake: FakeApns;
let session: http2.ClientHttp2Session;

beforeEach(async () => {
  fake = await startFakeApns({ requireClientCertificate: true, logSize: 3 });
  const { certificatePem: cert, privateKeyPem: key } = await makeClientCertificate();
  session = http2.connect(fake.url, { ca: fake.caPem, cert, key });
});

afterEach(async () => {
  session.destroy();
  await fake.close();
});

interface Answer {
  readonly status: number | undefined;
  readonly apnsId: unknown;
  readonly body: unknown;
}

function ask(
  headers: http2.OutgoingHttpHeaders = {},
  body = '{"mdm":"magic"}',
  over: http2.ClientHttp2Session = session,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = over.request({ ':method': 'POST', ':path': `/3/device/${TOKEN}`, 'apns-topic': TOPIC, ...headers });
    let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
    let text = '';
    stream.on('response', (given) => {
      head = given;
    });
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      text += chunk;
    });
    stream.on('error', reject);
    stream.on('end', () =>
      resolve({ status: head[':status'], apnsId: head['apns-id'], body: text === '' ? undefined : JSON.parse(text) }),
    );
    stream.end(body);
  });
}

test('takes a good push, with and without the headers that Apple lets be absent', async () => {
  const apnsId = randomUUID();
  expect(await ask({ 'apns-id': apnsId })).toEqual({ status: 200, apnsId, body: undefined });
  const { status, apnsId: given } = await ask({ 'apns-topic': undefined });
  expect([status, typeof given]).toEqual([200, 'string']);
  expect(fake.pushes[1]).toMatchObject({ topic: TOPIC, tokenHex: TOKEN, pushMagic: 'magic' });
});

const REFUSALS: readonly [number, string, http2.OutgoingHttpHeaders, string | undefined][] = [
  [405, 'MethodNotAllowed', { ':method': 'PUT' }, undefined],
  [404, 'BadPath', { ':path': '/2/device/ab' }, undefined],
  [400, 'MissingDeviceToken', { ':path': '/3/device/' }, undefined],
  [400, 'BadDeviceToken', { ':path': '/3/device/xyz' }, undefined],
  [400, 'BadDeviceToken', { ':path': `/3/device/${TOKEN.toUpperCase()}` }, undefined],
  [400, 'BadTopic', { 'apns-topic': 'com.example.app' }, undefined],
  [400, 'TopicDisallowed', { 'apns-topic': 'com.apple.mgmt.External.other' }, undefined],
  [400, 'InvalidPushType', { 'apns-push-type': 'alert' }, undefined],
  [400, 'BadPriority', { 'apns-priority': '11' }, undefined],
  [400, 'BadExpirationDate', { 'apns-expiration': 'tomorrow' }, undefined],
  [400, 'BadMessageId', { 'apns-id': '1' }, undefined],
  [400, 'BadCollapseId', { 'apns-collapse-id': 'x'.repeat(65) }, undefined],
  [400, 'DuplicateHeaders', { 'apns-priority': ['10', '10'] }, undefined],
  [400, 'PayloadEmpty', {}, ''],
  [400, 'PayloadEmpty', {}, '{}'],
  [400, 'PayloadEmpty', {}, '{"mdm":"x","aps":{}}'],
  [413, 'PayloadTooLarge', {}, `{"mdm":"${'x'.repeat(4096)}"}`],
];

test.each(REFUSALS)('%i %s: %j', async (status, reason, headers, body) => {
  expect(await ask({ ...headers }, body)).toMatchObject({ status, body: { reason } });
  expect(fake.counts.refused).toEqual({ [reason]: 1 });
});

test('without a client certificate: 403 where one is required; otherwise the topic must be said', async () => {
  const bare = http2.connect(fake.url, { ca: fake.caPem });
  expect(await ask({}, undefined, bare)).toMatchObject({ status: 403, body: { reason: 'MissingProviderToken' } });
  bare.destroy();
  const open = await startFakeApns({ requireClientCertificate: false });
  const any = http2.connect(open.url, { ca: open.caPem });
  expect(await ask({}, undefined, any)).toMatchObject({ status: 200 });
  expect(await ask({ 'apns-topic': undefined }, undefined, any)).toMatchObject({ body: { reason: 'MissingTopic' } });
  any.destroy();
  await open.close();
});

test('registered devices hear pushes with their own magic; others get what Apple gives them', async () => {
  const heard: string[] = [];
  fake.register(TOKEN, { topic: TOPIC, pushMagic: 'magic', onPush: ({ pushMagic }) => heard.push(pushMagic) });
  expect(await ask()).toMatchObject({ status: 200 });
  expect(await ask({}, '{"mdm":"other"}')).toMatchObject({ status: 200 });
  expect(heard).toEqual(['magic']);
  expect(await ask({ ':path': '/3/device/cdcd' })).toMatchObject({ body: { reason: 'BadDeviceToken' } });
  fake.register('cdcd', { topic: 'com.apple.mgmt.External.other', pushMagic: 'magic' });
  expect(await ask({ ':path': '/3/device/cdcd' })).toMatchObject({ body: { reason: 'DeviceTokenNotForTopic' } });
  fake.unregister(TOKEN, 1_700_000_000_000);
  expect(await ask()).toMatchObject({ status: 410, body: { reason: 'Unregistered', timestamp: 1_700_000_000_000 } });
});

test('scripted answers come first, so many times; the log keeps the latest', async () => {
  fake.answerNext(2, { status: 503, reason: 'Shutdown', retryAfter: 5 });
  fake.answerFor(TOKEN, { status: 429, reason: 'TooManyRequests' });
  const statuses: unknown[] = [];
  for (let turn = 0; turn < 4; turn += 1) {
    statuses.push((await ask({}, `{"mdm":"${turn}"}`)).status);
  }
  expect(statuses).toEqual([503, 503, 429, 429]);
  fake.answerFor(TOKEN, undefined);
  fake.delay(1);
  expect(await ask({}, '{"mdm":"4"}')).toMatchObject({ status: 200 });
  expect(fake.pushes.map(({ pushMagic }) => pushMagic)).toEqual(['2', '3', '4']);
});
