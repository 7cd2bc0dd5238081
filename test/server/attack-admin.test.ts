import { afterEach, describe, expect, it, vi } from 'vitest';
import { createApiKey, hashApiKey } from '../../db/queries/api-keys.ts';
import { ApiAuth } from '../../server/auth/authenticate-api.ts';
import { countRows, readQueue } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
const json = { 'Content-Type': 'application/json' };

describe('a key that was revoked', () => {
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  it('ends within seconds, also for who uses it all the time', async () => {
    // The cache holds on to the real `performance`.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    let nowMs = 1_000;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    let row: object[] = [{ id: 1, name: 'k', role: 'admin' }];
    let lookups = 0;
    const db = {
      rows: async <T>(_sql: string, [hash]: readonly unknown[] = []) => {
        lookups += 1;
        expect(hash).toEqual(hashApiKey('k'));
        return row as T[];
      },
      run: () => Promise.reject(new Error('nothing is written')),
    };
    const auth = new ApiAuth({ db, log: { debug() {}, info() {}, warn() {}, error() {}, with: () => expect.fail() } });
    expect(await auth.find('Bearer k')).toMatchObject({ role: 'admin' });
    row = [];
    let found: object | undefined = { id: 1 };
    for (let second = 0; second < 11; second++) {
      nowMs += 1_000;
      vi.advanceTimersByTime(1_000);
      found = await auth.find('Bearer k');
    }
    expect(found).toBeUndefined();
    expect(lookups).toBeGreaterThan(1);
    expect(lookups).toBeLessThan(5);
  });
});

describe('a page of another site in an admin’s browser', () => {
  const foreign = [
    { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' },
    { 'Sec-Fetch-Site': 'same-site' },
    { 'Sec-Fetch-Site': 'cross-site' },
    { Origin: 'https://evil.example' },
    { Origin: 'null' },
  ];

  it.each(foreign)('queues and pushes nothing: %j', async (headers) => {
    const device = await TestDevice.enrolled(server);
    const before = await countRows(test.db);
    const erase = makeCommand('erase', 'EraseDevice');
    const form = { 'Content-Type': 'text/plain', ...headers };
    for (const [method, path, body] of [
      ['POST', `/v1/enqueue/${device.id}`, erase],
      ['GET', `/v1/push/${device.id}`, undefined],
      ['POST', '/v1/certificates', 'x'],
      ['POST', '/v1/escrowkeyunlock', 'serial=x'],
    ] as const)
      expect([path, (await server.admin(method, path, body, form)).status]).toEqual([path, 403]);
    expect(await countRows(test.db)).toEqual(before);
    expect(await readQueue(test.db, device.id)).toEqual([]);
  });

  it('a page of our own site and the address line may', async () => {
    const { host, origin } = new URL(server.url);
    const pages = [
      { 'Sec-Fetch-Site': 'same-origin', Origin: 'https://behind-a-proxy.example' },
      { 'Sec-Fetch-Site': 'none' },
      { Origin: origin, Host: host },
    ];
    for (const headers of pages)
      expect((await server.admin('GET', '/v1/pushcert?topic=x', undefined, headers)).status).toBe(404);
  });
});

describe('an observer', () => {
  it('changes nothing on the board, whatever the board itself allows', async () => {
    const key = await createApiKey(test.db, 'looks', 'observer');
    const headers = { Authorization: `Bearer ${key}`, ...json };
    for (const method of ['PUT', 'POST', 'PATCH', 'DELETE'])
      for (const path of ['pause', 'push.send/add', 'push.send/obliterate', 'push.send/1/update-data'])
        expect(
          (await server.http.send(`/admin/queues/api/queues/${path}`, { method, headers, body: '{}' })).status,
        ).toBe(403);
    expect((await server.http.send('/admin/queues/api/queues', { headers })).status).toBe(200);
  });
});

describe('a stranger', () => {
  it('writes no large log lines', async () => {
    const long = 'x'.repeat(500_000);
    expect((await server.http.send(`/v1/push/${long}`)).status).toBe(401);
    for (const headers of [{ 'Content-Encoding': long }, { 'Mdm-Signature': long }, { 'X-Forwarded-For': long }]) {
      const { status } = await server.http.send('/mdm', { method: 'PUT', headers, body: 'x' });
      expect([400, 415]).toContain(status);
    }
    expect(Math.max(...server.log.map((line) => JSON.stringify(line).length))).toBeLessThan(2_000);
  });

  it('gets no answer that is larger than his question', async () => {
    for (const path of [`//${'"'.repeat(100_000)}`, `/v1/push?${'&'.repeat(100_000)}`]) {
      const reply = await server.http.send(path);
      expect(reply.status).toBe(414);
      expect(reply.body.length).toBeLessThan(100);
    }
    expect((await server.http.send('//v1//push')).headers.location).toBe('/v1/push');
  });
});

it('an APNs route that its columns cannot hold, or with a password for the log, is refused', async () => {
  for (const body of [
    { url: 'https://example.org/ä' },
    { url: 'https://user:secret@example.org/' },
    { url: 'https://example.org/\u0000' },
    { url: 'https://example.org/', ca: '-----BEGIN CERTIFICATE-----\nä' },
  ])
    expect((await server.admin('PUT', '/v1/apns/com.apple.mgmt.x', JSON.stringify(body), json)).status).toBe(400);
});
