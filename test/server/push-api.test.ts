import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDoctor } from '../../db/doctor.ts';
import { type FakeApns, startFakeApns } from '../../simulator/fake-apns.ts';
import { makePushCertificate } from '../../simulator/make-push-certificate.ts';
import { readEnrollment, readQueue } from '../harness/device-rows.ts';
import { useTestFolder } from '../harness/test-authority.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { makeCommand, TestDevice, TOPIC } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const folder = useTestFolder();
let apns: FakeApns;
const server = useTestServer(test, async () => {
  apns = await startFakeApns({ requireClientCertificate: true });
  return { APNS_URL: apns.url, APNS_CA_FILE: folder.write('apns.pem', apns.caPem) };
});
afterAll(() => apns.close());
beforeAll(async () => {
  const reply = await server.admin('PUT', '/v1/pushcert', await makePushCertificate(TOPIC));
  expect(reply.status).toBe(200);
});

const push = async (ids: string) => {
  const reply = await server.admin('GET', `/v1/push/${ids}`);
  return { status: reply.status, json: JSON.parse(reply.text) };
};
const pushedTo = (device: TestDevice) => apns.pushes.filter((sent) => sent.tokenHex === device.token.toString('hex'));
const owedPushes = async (device: TestDevice): Promise<number> => {
  const row = await readEnrollment(test.db, device.id);
  return (await test.db.rows("SELECT 1 FROM outbox WHERE kind = 'push.send' AND `key` = ?", [String(row?.id)])).length;
};
const APNS_ID = /^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/;

describe('push', () => {
  it('nanomdm §10 #28, #29: sends the magic to the token and answers with the apns-id of each', async () => {
    const devices = [await TestDevice.enrolled(server), await TestDevice.enrolled(server)];
    const { status, json } = await push(devices.map((device) => device.id).join(','));
    expect(status).toBe(200);
    expect(Object.keys(json)).toEqual(['status']);
    for (const device of devices) {
      expect(json.status[device.id]).toEqual({ push_result: expect.stringMatching(APNS_ID) });
      expect(pushedTo(device)).toMatchObject([{ pushMagic: device.pushMagic, topic: TOPIC }]);
      expect(await owedPushes(device)).toBe(0);
    }
  });

  it('nanomdm §10 #71, #27: known and unknown together are 207; unknown alone is 404', async () => {
    const device = await TestDevice.enrolled(server);
    const mixed = await push(`${device.id},unknown-71`);
    expect(mixed.status).toBe(207);
    expect(mixed.json.status['unknown-71']).toEqual({ push_error: 'push data missing for id' });
    expect(mixed.json.status[device.id]).toEqual({ push_result: expect.stringMatching(APNS_ID) });
    // The reference: 500; ids that nobody knows are the caller's mistake.
    expect((await push('unknown-71')).status).toBe(404);
    // Not lost among the properties of an object.
    expect(await push('__proto__')).toMatchObject({ status: 404 });
  });

  it('nanomdm §4.4: /v1/push/, is two empty ids, one entry: 207', async () => {
    expect(await push(',')).toEqual({
      status: 207,
      json: { status: { '': { push_error: 'push data missing for id' } } },
    });
  });

  it('nanomdm §10 #32: what APNs refuses is said, with its reason and apns-id', async () => {
    const device = await TestDevice.enrolled(server);
    apns.answerFor(device.token.toString('hex'), { status: 400, reason: 'BadDeviceToken' });
    const { status, json } = await push(device.id);
    expect(status).toBe(500);
    expect(json.status[device.id].push_error).toContain('400');
    expect(json.status[device.id].push_error).toContain('BadDeviceToken');
  });

  it('a disabled enrollment is pushed to like any other (nanomdm §4.5)', async () => {
    const device = await TestDevice.enrolled(server);
    await device.checkIn('CheckOut');
    expect((await push(device.id)).status).toBe(200);
    expect(pushedTo(device)).toHaveLength(1);
  });

  it('two enrollments with one token: each is pushed with its own magic and has its own entry (nanomdm §5.2)', async () => {
    const device = await TestDevice.enrolled(server);
    const twin = await TestDevice.make(server);
    await twin.authenticate();
    await twin.tokenUpdate({ Token: device.token, PushMagic: 'twin' });
    const { status, json } = await push(`${device.id},${twin.id}`);
    expect(status).toBe(200);
    expect(Object.keys(json.status).sort()).toEqual([device.id, twin.id].sort());
    expect(
      pushedTo(device)
        .map((sent) => sent.pushMagic)
        .sort(),
    ).toEqual([device.pushMagic, 'twin'].sort());
  });
});

describe('enqueue with a push', () => {
  it('nanomdm §4.4: status, command_uuid, request_type, in this order', async () => {
    const device = await TestDevice.enrolled(server);
    const reply = await server.admin('PUT', `/v1/enqueue/${device.id}`, makeCommand('pushed', 'SecurityInfo'));
    expect(reply.status).toBe(200);
    expect(Object.keys(JSON.parse(reply.text))).toEqual(['status', 'command_uuid', 'request_type']);
    expect(pushedTo(device)).toHaveLength(1);
    expect(await device.next()).toBe('pushed');
  });

  it.each([
    ['?nopush', 1],
    ['?nopush=', 1],
    ['?nopush=0', 0],
    ['?nopush=false', 0],
    ['?nopush=&nopush=1', 1],
  ])('nanomdm §10 #69: %s pushes %i times', async (query, times) => {
    const device = await TestDevice.enrolled(server);
    const reply = await server.admin('PUT', `/v1/enqueue/${device.id}${query}`, makeCommand(`nopush${query}`));
    expect([reply.status, 'no_push' in JSON.parse(reply.text)]).toEqual([200, times === 0]);
    expect(pushedTo(device)).toHaveLength(times);
  });

  it('nanomdm §10 #64: an empty body pushes only', async () => {
    const device = await TestDevice.enrolled(server);
    const reply = await server.admin('PUT', `/v1/enqueue/${device.id}`, '');
    expect([reply.status, Object.keys(JSON.parse(reply.text))]).toEqual([200, ['status']]);
    expect(pushedTo(device)).toHaveLength(1);
  });

  it('nanomdm §4.6: when all pushes are refused it is 500, and the command is queued nevertheless', async () => {
    const device = await TestDevice.enrolled(server);
    apns.answerFor(device.token.toString('hex'), { status: 400, reason: 'BadDeviceToken' });
    const reply = await server.admin('PUT', `/v1/enqueue/${device.id}`, makeCommand('refused-push'));
    expect(reply.status).toBe(500);
    expect(JSON.parse(reply.text)).toMatchObject({ command_uuid: 'refused-push' });
    expect(await readQueue(test.db, device.id)).toEqual(['refused-push']);
    expect(await device.next()).toBe('refused-push');
  });

  it('nanomdm §10 #72: no push certificate: 500 with push_error, the command is queued, unknown topics stay owed', async () => {
    const device = await TestDevice.make(server);
    await device.authenticate();
    await device.tokenUpdate({ Topic: 'com.apple.mgmt.External.nobody' });
    const reply = await server.admin('PUT', `/v1/enqueue/${device.id}`, makeCommand('no-certificate'));
    const json = JSON.parse(reply.text);
    expect([reply.status, Object.keys(json)]).toEqual([500, ['push_error', 'command_uuid', 'request_type']]);
    expect(json.push_error).toContain('com.apple.mgmt.External.nobody');
    expect(await readQueue(test.db, device.id)).toEqual(['no-certificate']);
    // A worker will push when there is a certificate.
    expect(await owedPushes(device)).toBe(1);
    const pushed = await push(`${device.id},unknown-72`);
    expect(pushed).toMatchObject({
      status: 500,
      json: { status: { 'unknown-72': { push_error: 'push data missing for id' } } },
    });
    expect(pushed.json.push_error).toBeDefined();
    expect(await runDoctor(test.db)).toEqual([]);
  });

  it('nanomdm §10 #71: APNs cannot be reached: 500 with both errors, the push of the known one stays owed', async () => {
    const device = await TestDevice.make(server);
    await device.authenticate();
    const topic = 'com.apple.mgmt.External.unreachable';
    await device.tokenUpdate({ Topic: topic });
    await server.admin('PUT', '/v1/pushcert', await makePushCertificate(topic));
    const route = JSON.stringify({ url: 'https://127.0.0.1:9' });
    const json = { 'Content-Type': 'application/json' };
    expect((await server.admin('PUT', `/v1/apns/${topic}`, route, json)).status).toBe(200);
    const { status, json: result } = await push(`${device.id},unknown-71b`);
    expect(status).toBe(500);
    expect(Object.keys(result.status).sort()).toEqual([device.id, 'unknown-71b'].sort());
    expect(await owedPushes(device)).toBe(1);
  });
});

describe('push certificates', () => {
  const topicOf = (n: number): string => `com.apple.mgmt.External.73-${n}`;

  it('nanomdm §10 #73: DELETE is 405, GET without a topic 400, of an unknown one 404', async () => {
    const deleted = await server.admin('DELETE', '/v1/pushcert');
    expect([deleted.status, deleted.text, deleted.headers['content-type']]).toEqual([
      405,
      'Method Not Allowed\n',
      'text/plain; charset=utf-8',
    ]);
    for (const path of ['/v1/pushcert', '/v1/pushcert?topic=']) {
      const reply = await server.admin('GET', path);
      expect([reply.status, reply.text]).toEqual([400, '{\n\t"error": "missing required query parameter: topic"\n}\n']);
    }
    // The reference: 500 "sql: no rows in result set".
    expect((await server.admin('GET', '/v1/pushcert?topic=com.apple.mgmt.nobody')).status).toBe(404);
  });

  it('nanomdm §10 #73: what is no push certificate is 400 with the reason', async () => {
    const good = await makePushCertificate(topicOf(1));
    const other = await makePushCertificate(topicOf(1));
    const certificate = good.slice(0, good.indexOf('-----BEGIN PRIVATE KEY'));
    const otherKey = other.slice(other.indexOf('-----BEGIN PRIVATE KEY'));
    const encrypted = good.replaceAll('PRIVATE KEY', 'ENCRYPTED PRIVATE KEY');
    const cases: [string, string][] = [
      ['', 'tls: failed to find any PEM data in certificate input'],
      [certificate, 'tls: failed to find any PEM data in key input'],
      [certificate + otherKey, 'tls: private key does not match public key'],
      [await makePushCertificate('com.example.app'), 'no APNs Topic found'],
      [encrypted, 'private key PEM appears to be encrypted'],
    ];
    for (const [body, error] of cases) {
      const reply = await server.admin('PUT', '/v1/pushcert', body);
      expect([reply.status, JSON.parse(reply.text)]).toEqual([400, { error }]);
    }
    expect((await server.admin('GET', `/v1/pushcert?topic=${topicOf(1)}`)).status).toBe(404);
  });

  it('nanomdm §10 #73, #26: PUT and GET answer the same, the key is sealed, and each upload counts', async () => {
    const pem = await makePushCertificate(topicOf(2));
    const put = await server.admin('PUT', '/v1/pushcert', pem);
    expect(put.status).toBe(200);
    expect(put.text).toMatch(
      /^\{\n\t"not_after": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",\n\t"topic": "com\.apple\.mgmt\.External\.73-2"\n\}\n$/,
    );
    const got = await server.admin('GET', `/v1/pushcert?topic=${topicOf(2)}`);
    expect([got.status, got.text]).toEqual([200, put.text]);
    const versionOf = async () =>
      (
        await test.db.rows<{ version: number; key: Buffer }>(
          'SELECT version, key_sealed AS `key` FROM push_certs WHERE topic = ?',
          [topicOf(2)],
        )
      )[0];
    const first = await versionOf();
    expect(first?.key.includes('PRIVATE KEY')).toBe(false);
    await server.admin('PUT', '/v1/pushcert', pem);
    expect((await versionOf())?.version).toBe((first?.version ?? 0) + 1);
  });

  // The reference takes it, and then every push with it fails.
  it('nanomdm §4.2: an expired certificate is refused, and the one in force stays', async () => {
    const good = await server.admin('PUT', '/v1/pushcert', await makePushCertificate(topicOf(3)));
    const refused = await server.admin('PUT', '/v1/pushcert', await makePushCertificate(topicOf(3), -1));
    expect(refused.status).toBe(400);
    expect(refused.body.toString()).toMatch(/the push certificate expired at \d{4}-/);
    const stored = await server.admin('GET', `/v1/pushcert?topic=${topicOf(3)}`);
    expect(stored.body.toString()).toBe(good.body.toString());
  });

  it('nanomdm §5.4: a certificate that was replaced in another process is used from the next push on', async () => {
    const device = await TestDevice.make(server);
    await device.authenticate();
    await device.tokenUpdate({ Topic: topicOf(4) });
    await server.admin('PUT', '/v1/pushcert', await makePushCertificate(topicOf(4)));
    expect((await push(device.id)).status).toBe(200);
    await server.admin('PUT', '/v1/pushcert', await makePushCertificate(topicOf(4)));
    expect((await push(device.id)).status).toBe(200);
    expect(pushedTo(device)).toHaveLength(2);
  });
});
