import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { countRows, readEnrollment } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, makeCommand, TestDevice } from '../harness/test-device.ts';
import { startTestServer, type TestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const sockets = new Set<Socket>();
let relay: Server;
let isDown = false;
let server: TestServer;

/** A way to MySQL that a test can cut. */
beforeAll(async () => {
  const real = new URL(test.databaseUrl);
  const socketPath = real.searchParams.get('socketPath');
  relay = createServer((near) => {
    if (isDown) return void near.destroy();
    const far = socketPath === null ? connect(Number(real.port || 3306), real.hostname) : connect(socketPath);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket
        .on('error', () => {})
        .on('close', () => {
          sockets.delete(socket);
          other.destroy();
        });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const url = new URL(real);
  url.searchParams.delete('socketPath');
  url.host = `127.0.0.1:${(relay.address() as AddressInfo).port}`;
  server = await startTestServer({ ...test, databaseUrl: url.href, redisUrl: test.redisUrl, prefix: test.prefix });
});
afterAll(async () => {
  isDown = false;
  await server.close();
  await new Promise((resolve) => relay.close(resolve));
});
const cut = (): void => {
  isDown = true;
  for (const socket of sockets) socket.destroy();
};

it('MySQL away: devices get 503 with Retry-After, admins 503, nothing is recorded; when it is back, so are they', async () => {
  const device = await TestDevice.enrolled(server);
  const fresh = await TestDevice.make(server);
  await enqueue(server, device, 'while-away');
  const before = await countRows(test.db);
  cut();
  for (const reply of [
    await device.report('Acknowledged', 'while-away'),
    await device.report('Idle'),
    await device.tokenUpdate(),
    await device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.of(1) }),
    await device.checkIn('CheckOut'),
    await fresh.authenticate(),
  ]) {
    expect([reply.status, reply.text]).toEqual([503, 'Service Unavailable\n']);
    expect(Number(reply.headers['retry-after'])).toBeGreaterThan(0);
  }
  const queued = await server.admin('PUT', `/v1/enqueue/${device.id}?nopush=1`, makeCommand('not-queued'));
  expect([queued.status, JSON.parse(queued.text).command_error]).toEqual([503, 'the database cannot be reached']);
  expect((await server.admin('GET', '/v1/pushcert?topic=x')).status).toBe(503);
  expect((await server.http.send('/healthz')).status).toBe(200);
  expect((await server.http.send('/readyz')).status).toBe(503);
  expect(await countRows(test.db)).toEqual(before);

  isDown = false;
  expect(await device.next('Acknowledged', 'while-away')).toBeUndefined();
  expect((await fresh.authenticate()).status).toBe(200);
  expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 1, tally: 1 });
  expect((await server.http.send('/readyz')).status).toBe(200);
});

it('many requests at the moment of the cut: each is answered, and what was answered 200 is recorded', async () => {
  isDown = false;
  const devices = await Promise.all(Array.from({ length: 30 }, () => TestDevice.enrolled(server)));
  await enqueue(server, devices, 'at-the-cut');
  const answers = devices.map((device) => device.report('Acknowledged', 'at-the-cut'));
  setImmediate(cut);
  const statuses = (await Promise.all(answers)).map((reply) => reply.status);
  expect(new Set([...statuses, 200, 503])).toEqual(new Set([200, 503]));
  isDown = false;
  const rows = await test.db.rows<{ id: string }>(
    `SELECT e.enrollment_id AS id FROM command_results r JOIN enrollments e ON e.id = r.enrollment_id JOIN commands c ON c.id = r.command_id
     WHERE c.command_uuid = 'at-the-cut' AND r.ended_at IS NOT NULL`,
  );
  const recorded = new Set(rows.map((row) => row.id));
  for (const [index, device] of devices.entries())
    if (statuses[index] === 200) expect(recorded.has(device.id)).toBe(true);
  for (const device of devices) expect(await device.next('Acknowledged', 'at-the-cut')).toBeUndefined();
});
