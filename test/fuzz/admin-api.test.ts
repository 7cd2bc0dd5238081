import fc from 'fast-check';
import { beforeAll, expect, it } from 'vitest';
import { countRows } from '../harness/device-rows.ts';
import { SEED } from '../harness/seed.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
let device: TestDevice;
beforeAll(async () => {
  device = await TestDevice.enrolled(server);
});

const isTyped = (status: number): boolean => [200, 301, 400, 404, 409, 413].includes(status);
const text = fc.string({ unit: 'binary', maxLength: 200 });

it(`enqueue with any ids, any UUID and any query: a typed answer, and a refusal leaves no row (TEST_SEED=${SEED})`, async () => {
  const id = fc.oneof(
    text,
    fc.constantFrom(device.id, device.id.toLowerCase(), `${device.id} `, '', ',', '__proto__', 'é', '\u0000', '\ud800'),
  );
  const encode = (part: string): string => encodeURIComponent(part.toWellFormed());
  await fc.assert(
    fc.asyncProperty(fc.array(id, { maxLength: 4 }), text, text, text, async (ids, uuid, requestType, context) => {
      let body: Buffer;
      try {
        body = makeCommand(uuid, requestType);
      } catch {
        body = Buffer.from(uuid);
      }
      const before = await countRows(test.db);
      const query = context.length % 3 === 0 ? `&context=${encode(context)}` : '';
      const reply = await server.admin('PUT', `/v1/enqueue/${ids.map(encode).join(',')}?nopush=1${query}`, body);
      if (!isTyped(reply.status))
        throw new Error(`answered ${reply.status}: ${reply.text}${server.log.at(-1)?.fields.error}`);
      if (reply.status !== 200) expect(await countRows(test.db)).toEqual(before);
    }),
    { seed: SEED, numRuns: 200 },
  );
});

it(`any bytes as a command or push certificate (TEST_SEED=${SEED})`, async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 2_000 }),
    text.map((line) => Buffer.from(`-----BEGIN CERTIFICATE-----\n${line}\n-----END CERTIFICATE-----\n`)),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (body) => {
      for (const path of [`/v1/enqueue/${device.id}?nopush=1`, '/v1/pushcert', '/v1/certificates']) {
        const reply = await server.admin(path === '/v1/certificates' ? 'POST' : 'PUT', path, body);
        expect([path, reply.status]).toEqual([path, 400]);
      }
    }),
    { seed: SEED, numRuns: 80 },
  );
});

it.each([
  '/v1/pushcert?topic=%C3%A9',
  '/v1/pushcert?topic=%F0%9F%8D%8F',
  '/v1/pushcert?topic=%00',
  '/v1/pushcert?topic=%',
  `/v1/pushcert?topic=${'t'.repeat(300)}`,
])('GET %s is 404, not a failure of the database', async (path) => {
  expect((await server.admin('GET', path)).status).toBe(404);
});

it('topics that no certificate can have are refused or unknown elsewhere too', async () => {
  expect((await server.admin('DELETE', '/v1/apns/%C3%A9')).status).toBe(404);
  const form = 'serial=s&productType=p&escrowKey=k&orgName=o&guid=g&topic=%C3%A9';
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
  expect((await server.admin('POST', '/v1/escrowkeyunlock', form, headers)).status).toBe(404);
});
