import { describe, expect, it } from 'vitest';
import { countRows, readQueue } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, makeCommand, TestDevice } from '../harness/test-device.ts';
import { API_KEY, useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
const put = (path: string, body: Uint8Array | string = '') => server.admin('PUT', path, body);
const basic = (user: string, password: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

describe('routes', () => {
  it('nanomdm §10 #59: /version answers anybody, compact and without a newline', async () => {
    for (const method of ['GET', 'POST']) {
      const reply = await server.http.send('/version', { method });
      expect([reply.status, reply.headers['content-type']]).toEqual([200, 'application/json']);
      expect(reply.text).toMatch(/^\{"version":"[^"]+"\}$/);
    }
  });

  it.each(['/', '/v1/pushcert/', '/V1/pushcert', '/version/', '/v1', '/v2/enqueue/D1'])(
    'nanomdm §10 #60: %s is 404 in plain text',
    async (path) => {
      const reply = await put(path);
      expect([
        reply.status,
        reply.text,
        reply.headers['content-type'],
        reply.headers['x-content-type-options'],
      ]).toEqual([404, '404 page not found\n', 'text/plain; charset=utf-8', 'nosniff']);
    },
  );

  it.each([
    ['/v1/enqueue', '/v1/enqueue/'],
    ['/v1/push', '/v1/push/'],
    ['/v1/enqueue?a=b', '/v1/enqueue/?a=b'],
    ['/v1/enqueue//D1?x', '/v1/enqueue/D1?x'],
    ['/v1/./push/D1', '/v1/push/D1'],
    ['/v1/x/../push/D1', '/v1/push/D1'],
  ])('nanomdm §10 #61: %s is sent on to %s before anybody is asked for a key', async (path, location) => {
    const reply = await server.http.send(path, { method: 'PUT', body: '' });
    expect([reply.status, reply.headers.location, reply.text]).toEqual([301, location, '']);
    const read = await server.http.send(path);
    expect([read.status, read.headers.location, read.headers['content-type']]).toEqual([
      301,
      location,
      'text/html; charset=utf-8',
    ]);
  });

  it('nanomdm §10 #62: no key, a wrong key, no Basic', async () => {
    for (const headers of [
      {},
      basic('nanomdm', 'wrong'),
      basic(API_KEY, ''),
      { Authorization: `Digest ${API_KEY}` },
      { Authorization: 'Basic' },
      { Authorization: 'Basic %%%' },
    ]) {
      for (const path of ['/v1/enqueue/D1', '/v1/push/D1', '/v1/pushcert?topic=x', '/v1/escrowkeyunlock']) {
        const reply = await server.http.send(path, { method: 'GET', headers });
        expect([reply.status, reply.text]).toEqual([401, 'Unauthorized\n']);
        expect(reply.headers['www-authenticate']).toBe('Basic realm="nanomdm"');
        expect(reply.headers['content-type']).toBe('text/plain; charset=utf-8');
      }
    }
  });

  it('nanomdm §10 #62: the user name does not count here (NanoCMD sends its own), and a Bearer token is the same key', async () => {
    for (const headers of [
      basic('nanomdm', API_KEY),
      basic('Nanomdm', API_KEY),
      basic('nanocmd', API_KEY),
      { Authorization: `Bearer ${API_KEY}` },
    ])
      expect((await server.http.send('/v1/pushcert', { headers })).status).toBe(400);
  });
});

describe('enqueue', () => {
  it('nanomdm §10 #63: without ids, and push without ids', async () => {
    for (const path of ['/v1/enqueue/', '/v1/enqueue/?nopush=1']) {
      const reply = await put(path, makeCommand('x'));
      // The reference: 500; the caller's mistake is a 4xx here (docs/architecture.md).
      expect([reply.status, reply.text]).toEqual([
        400,
        '{\n\t"command_error": "getting enrollment ids: empty path"\n}\n',
      ]);
    }
    const reply = await put('/v1/push/');
    expect([reply.status, reply.text]).toEqual([400, '{\n\t"push_error": "getting enrollment ids: empty path"\n}\n']);
  });

  it('nanomdm §10 #64: an empty body asks for a push only', async () => {
    const device = await TestDevice.enrolled(server);
    const refused = await put(`/v1/enqueue/${device.id}?nopush=1`);
    expect([refused.status, JSON.parse(refused.text)]).toEqual([
      400,
      { no_push: true, command_error: 'must enqueue or push' },
    ]);
    const unknown = await put('/v1/enqueue/unknown-64');
    // The reference: 500.
    expect([unknown.status, JSON.parse(unknown.text)]).toEqual([
      404,
      { status: { 'unknown-64': { push_error: 'push data missing for id' } } },
    ]);
  });

  it('nanomdm §10 #65, #9: a body that is no command', async () => {
    const device = await TestDevice.enrolled(server);
    const path = `/v1/enqueue/${device.id}?nopush=1`;
    const garbage = await put(path, 'garbage');
    expect(garbage.status).toBe(400);
    expect(JSON.parse(garbage.text).command_error).toMatch(/^decoding command: parse error: .*raw content: garbage$/);
    const [noUuid, noCommand] = [
      '<plist><dict><key>Command</key><dict><key>RequestType</key><string>X</string></dict></dict></plist>',
      '<plist><dict><key>CommandUUID</key><string>u</string></dict></plist>',
    ];
    for (const body of [noUuid, noCommand, makeCommand('u', '')]) {
      const reply = await put(path, body);
      expect([reply.status, JSON.parse(reply.text)]).toEqual([
        400,
        { no_push: true, command_error: 'decoding command: invalid command' },
      ]);
    }
    expect((await put(path, '<plist><array/></plist>')).status).toBe(400);
    expect(await readQueue(test.db, device.id)).toEqual([]);
  });

  it('nanomdm §10 #66: one unknown id among others: nothing is queued for anybody', async () => {
    const device = await TestDevice.enrolled(server);
    const before = await countRows(test.db);
    const reply = await put(`/v1/enqueue/${device.id},unknown-66?nopush=1`, makeCommand('for-66'));
    expect([reply.status, JSON.parse(reply.text)]).toEqual([
      404,
      { no_push: true, command_error: 'not enrolled: unknown-66', command_uuid: 'for-66', request_type: 'ProfileList' },
    ]);
    expect(await countRows(test.db)).toEqual(before);
  });

  it('a device between Authenticate and TokenUpdate cannot be sent commands yet', async () => {
    const device = await TestDevice.make(server);
    await device.authenticate();
    expect((await put(`/v1/enqueue/${device.id}?nopush=1`, makeCommand('too-early'))).status).toBe(404);
  });

  it('nanomdm §10 #67: an id repeated, in whatever letters, and a CommandUUID that exists', async () => {
    const device = await TestDevice.enrolled(server);
    const before = await countRows(test.db);
    for (const ids of [`${device.id},${device.id}`, `${device.id},${device.id.toLowerCase()}`])
      expect((await put(`/v1/enqueue/${ids}?nopush=1`, makeCommand('once-67'))).status).toBe(400);
    expect(await countRows(test.db)).toEqual(before);
    await enqueue(server, device, 'once-67');
    const again = await put(`/v1/enqueue/${device.id}?nopush=1`, makeCommand('once-67', 'SecurityInfo'));
    expect([again.status, JSON.parse(again.text)]).toEqual([
      409,
      {
        no_push: true,
        command_error: 'CommandUUID exists already',
        command_uuid: 'once-67',
        request_type: 'SecurityInfo',
      },
    ]);
    expect(await device.next()).toBe('once-67');
    expect(await device.next('Acknowledged', 'once-67')).toBeUndefined();
  });

  it('nanomdm §10 #68, #69: ids are decoded once, then split: %3A is a colon and %2C a comma', async () => {
    const device = await TestDevice.enrolled(server);
    const user = device.user({ UserID: 'U1' });
    await user.tokenUpdate();
    const reply = await put(`/v1/enqueue/${device.id}%2C${device.id}%3AU1?nopush=1`, makeCommand('for-68'));
    expect(reply.status).toBe(200);
    expect(await readQueue(test.db, device.id)).toEqual(['for-68']);
    expect(await readQueue(test.db, user.id)).toEqual(['for-68']);
    expect((await put('/v1/enqueue/%GK?nopush=1', makeCommand('bad-68'))).status).toBe(400);
  });

  it('ids with odd characters reach their enrollments', async () => {
    const device = await TestDevice.enrolled(server, { ids: { UDID: 'a/b%c é' } });
    await enqueue(server, device, 'odd-id');
    expect(await device.next()).toBe('odd-id');
  });

  it('nanomdm §10 #70: JSON is escaped, indented with tabs, and ends in a newline', async () => {
    const device = await TestDevice.enrolled(server);
    const reply = await put(`/v1/enqueue/${device.id}?nopush=1`, makeCommand('<&>', 'A\u2028'));
    expect(reply.headers['content-type']).toBe('application/json');
    expect(reply.text).toBe(
      '{\n\t"no_push": true,\n\t"command_uuid": "\\u003c\\u0026\\u003e",\n\t"request_type": "A\\u2028"\n}\n',
    );
  });

  it('nanomdm §4.6: names that are too long for what keeps them are refused', async () => {
    const device = await TestDevice.enrolled(server);
    const path = `/v1/enqueue/${device.id}?nopush=1`;
    expect((await put(path, makeCommand('u'.repeat(128)))).status).toBe(400);
    expect((await put(path, makeCommand('u', 'R'.repeat(64)))).status).toBe(400);
    expect((await put(path, makeCommand('u'.repeat(127), 'R'.repeat(63)))).status).toBe(200);
  });

  it('nanomdm §4.6: a command without an XML declaration or in binary is taken (the reference cannot store it)', async () => {
    const device = await TestDevice.enrolled(server);
    const bare =
      '\n<dict><key>CommandUUID</key><string>bare</string><key>Command</key><dict><key>RequestType</key><string>X</string></dict></dict>';
    expect((await put(`/v1/enqueue/${device.id}?nopush=1`, bare)).status).toBe(200);
    expect((await device.report('Idle')).text).toBe(bare);
  });

  it('a large command is stored and served whole', async () => {
    const device = await TestDevice.enrolled(server);
    const payload = Buffer.alloc(6 * 1024 * 1024, 'profile');
    const body = makeCommand('large', 'InstallProfile', { Payload: payload });
    expect((await put(`/v1/enqueue/${device.id}?nopush=1`, body)).status).toBe(200);
    expect((await device.report('Idle')).body.equals(body)).toBe(true);
  });

  it('more than 16 MiB are 413 and change nothing', async () => {
    const device = await TestDevice.enrolled(server);
    const reply = await put(`/v1/enqueue/${device.id}?nopush=1`, Buffer.alloc(16 * 1024 * 1024 + 1, ' '));
    expect([reply.status, JSON.parse(reply.text).no_push]).toEqual([413, true]);
  });

  it('one command for many ids: one row of it, one of the queue each, with every id in the URL', async () => {
    const devices = await Promise.all(Array.from({ length: 40 }, () => TestDevice.enrolled(server)));
    const before = await countRows(test.db);
    await enqueue(server, devices, 'for-all');
    const after = await countRows(test.db);
    expect((after.commands ?? 0) - (before.commands ?? 0)).toBe(1);
    expect((after.command_queue ?? 0) - (before.command_queue ?? 0)).toBe(40);
    expect(await Promise.all(devices.map((device) => device.next()))).toEqual(devices.map(() => 'for-all'));
  });
});

describe('escrow key unlock', () => {
  it.each([
    ['an empty form', ''],
    ['a partial one', 'topic=t&serial=s&productType=p&escrowKey=k&orgName=o'],
  ])('nanomdm §10 #74: %s is 400 in JSON', async (_what, body) => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const reply = await server.admin('POST', '/v1/escrowkeyunlock?guid=g', body, headers);
    expect([reply.status, reply.text]).toEqual([400, '{\n\t"error": "invalid or missing parameters"\n}\n']);
  });

  it('nanomdm §4.7: only the topic missing, or unknown', async () => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const form = 'serial=s&productType=p&escrowKey=k&orgName=o&guid=g';
    const missing = await server.admin('POST', '/v1/escrowkeyunlock', form, headers);
    expect([missing.status, JSON.parse(missing.text)]).toEqual([400, { error: 'empty topic' }]);
    expect((await server.admin('POST', '/v1/escrowkeyunlock', `${form}&topic=unknown`, headers)).status).toBe(404);
  });
});
