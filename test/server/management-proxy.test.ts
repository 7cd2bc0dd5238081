import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { resolveEnrollmentId } from '../../mdm/enrollment-id.ts';
import { ManagementProxy } from '../../server/device/management-proxy.ts';
import { countRows } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const SEND_KEY = 'send-key';
const RECEIVE_KEY = 'receive-key';
const hmac = (key: string, body: Uint8Array | string): string =>
  createHmac('sha256', key).update(body).digest('base64');

interface Received {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

let received: Received[] = [];
let answer = { status: 200, body: '{"ok":true}', headers: {} as Record<string, string> };
let upstream: Server;
const base = (): string => `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/dm/base/`;

const test = useTestDatabase();
const listenUpstream = async (): Promise<void> => {
  upstream = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    received.push({ method: request.method, path: request.url, headers: request.headers, body: Buffer.concat(chunks) });
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
};
const server = useTestServer(test, async () => {
  await listenUpstream();
  return { DM_URL: base() };
});
const signing = useTestServer(test, async () => ({
  DM_URL: base(),
  DM_SEND_HMAC_KEY: SEND_KEY,
  DM_RECV_HMAC_KEY: RECEIVE_KEY,
}));
const withoutHook = useTestServer(test);
const broken = useTestServer(test, { DM_URL: 'http://127.0.0.1:9/' });
let device: TestDevice;
beforeAll(async () => {
  device = await TestDevice.enrolled(server);
});
beforeEach(() => {
  received = [];
  answer = { status: 200, body: '{"ok":true}', headers: {} };
});
afterAll(() => new Promise((resolve) => upstream.close(resolve)));

const ask = (fields: Record<string, string | Buffer>, from: TestDevice = device) =>
  from.checkIn('DeclarativeManagement', fields);
const through = async (target: typeof server): Promise<TestDevice> =>
  new TestDevice(target, device.ids, device.identity, device.serialNumber);

describe('the Declarative Management hook', () => {
  it('nanomdm §10 #42: Data is put to the Endpoint, and the answer comes back as it is', async () => {
    const reply = await ask({ Endpoint: 'status', Data: Buffer.from('{"a":1}') });
    expect([reply.status, reply.text, reply.headers['content-type']]).toEqual([
      200,
      '{"ok":true}',
      'text/plain; charset=utf-8',
    ]);
    expect(received).toMatchObject([
      { method: 'PUT', path: '/dm/base/status', headers: { 'content-type': 'application/json' } },
    ]);
    expect(received[0]?.body.toString()).toBe('{"a":1}');
  });

  it('nanomdm §10 #98: without Data it is a GET; headers name the enrollment, and the parent of a user channel', async () => {
    const user = device.user({ UserID: 'Ü1' });
    await user.tokenUpdate();
    await ask({ Endpoint: 'declaration/com.apple.configuration.x/a.b' });
    await ask({ Endpoint: 'tokens' }, user);
    await ask({ Endpoint: '' });
    expect(received.map(({ method, path }) => [method, path])).toEqual([
      ['GET', '/dm/base/declaration/com.apple.configuration.x/a.b'],
      ['GET', '/dm/base/tokens'],
      ['GET', '/dm/base/'],
    ]);
    expect(received[0]?.headers).toMatchObject({ 'x-enrollment-id': device.id, 'x-enrollment-type': 'Device' });
    expect(received[0]?.headers).not.toHaveProperty('x-enrollment-parentid');
    expect(received[0]?.headers).not.toHaveProperty('x-hmac-signature');
    const id = Buffer.from(String(received[1]?.headers['x-enrollment-id']), 'latin1').toString();
    expect([id, received[1]?.headers['x-enrollment-type'], received[1]?.headers['x-enrollment-parentid']]).toEqual([
      user.id,
      'User',
      device.id,
    ]);
  });

  it.each([
    'http://169.254.169.254/latest/meta-data',
    'HTTP://127.0.0.1/',
    '//127.0.0.1/x',
    '\\\\127.0.0.1\\x',
    '/etc/passwd',
    ' /absolute',
    '\t/absolute',
    '../secret',
    'a/../../../secret',
    '%2e%2e/secret',
    'a/%2E./%2e%2E/../secret',
    '.\t./secret',
    'http:secret',
    'file:///etc/passwd',
    'javascript:0',
    'a\\..\\..\\..\\secret',
    '..%2fsecret',
    '..%5Csecret',
    'http://[',
    'a b',
  ])(
    'nanomdm §10 #98: the Endpoint %j leads nowhere but below the configured URL (the reference follows it)',
    async (endpoint) => {
      const reply = await ask({ Endpoint: endpoint });
      expect([reply.status, received.map(({ path }) => path)]).toEqual([400, []]);
    },
  );

  it('nanomdm §10 #44, #98: what is not 200 is an error with the body of the hook; its 404 is passed on', async () => {
    answer = { status: 404, body: 'no such declaration', headers: {} };
    const missing = await ask({ Endpoint: 'declaration/a/b' });
    // The reference: 500, and the device cannot tell that a declaration is gone (nanomdm §14.3 #8).
    expect([missing.status, missing.text]).toEqual([404, 'Not Found\nno such declaration']);
    for (const status of [201, 302, 401, 410, 500]) {
      answer = { status, body: 'upstream says', headers: { Location: 'http://127.0.0.1:9/' } };
      const reply = await ask({ Endpoint: 'tokens' });
      expect([status, reply.status, reply.text]).toEqual([status, 500, 'Internal Server Error\nupstream says']);
    }
  });

  it('nanomdm §10 #43: what is sent is signed, over the empty body of a GET too; an answer without a good signature is an error', async () => {
    const to = await through(signing);
    for (const fields of [{ Endpoint: 'tokens' }, { Endpoint: 'status', Data: Buffer.from('data') }]) {
      answer = { status: 200, body: 'answer', headers: { 'X-Hmac-Signature': hmac(RECEIVE_KEY, 'answer') } };
      const reply = await ask(fields, to);
      expect([reply.status, reply.text]).toEqual([200, 'answer']);
      const last = received.at(-1);
      expect(last?.headers['x-hmac-signature']).toBe(hmac(SEND_KEY, last?.body ?? ''));
    }
    for (const headers of [{}, { 'X-Hmac-Signature': hmac(SEND_KEY, 'answer') }, { 'X-Hmac-Signature': '' }]) {
      answer = { status: 200, body: 'answer', headers: headers as Record<string, string> };
      expect((await ask({ Endpoint: 'tokens' }, to)).status).toBe(500);
    }
  });

  it('nanomdm §10 #80: without a hook it is 500; a hook that cannot be reached is 502', async () => {
    expect((await ask({ Endpoint: 'tokens' }, await through(withoutHook))).status).toBe(500);
    expect((await ask({ Endpoint: 'tokens' }, await through(broken))).status).toBe(502);
  });

  it('is asked for enrolled devices only, and changes no row', async () => {
    const before = await countRows(test.db);
    expect((await ask({ Endpoint: 'tokens' }, await TestDevice.make(server))).status).toBe(403);
    expect(received).toEqual([]);
    await ask({ Endpoint: 'tokens' });
    expect(await countRows(test.db)).toEqual(before);
  });

  it('a hook that does not answer in time is 502', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`;
    const enrollment = resolveEnrollmentId({ UDID: 'D1' });
    if (!enrollment.ok) throw enrollment.error;
    const message = {
      messageType: 'DeclarativeManagement',
      enrollment: enrollment.value,
      identifiers: {},
      endpoint: '',
      data: undefined,
    } as const;
    await expect(new ManagementProxy({ url, timeoutMs: 50 }).forward(message)).rejects.toMatchObject({ status: 502 });
    silent.closeAllConnections();
    await new Promise((resolve) => silent.close(resolve));
  });
});
