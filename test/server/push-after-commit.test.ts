import { randomUUID } from 'node:crypto';
import express from 'express';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createMetrics } from '../../config/metrics.ts';
import { ApnsClient } from '../../push/apns-client.ts';
import { enqueueHandler } from '../../server/api/enqueue.ts';
import { listen, portOf, stopListening } from '../../server/listen.ts';
import { collectLog } from '../harness/core-fixture.ts';
import { readEnrollment, readQueue } from '../harness/device-rows.ts';
import { HttpClient } from '../harness/http-client.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);

class BrokenApnsClient extends ApnsClient {
  override send(): never {
    throw new Error('a bug');
  }
}

let http: HttpClient;
let stop: () => Promise<void>;
beforeAll(async () => {
  const apns = new BrokenApnsClient({ defaultUrl: 'https://127.0.0.1:9', certificateFor: async () => undefined });
  const options = { db: server.db, apns, log: collectLog(), metrics: createMetrics(), repushSeconds: 600 };
  const app = express().put('/v1/enqueue/:ids', enqueueHandler(options));
  const listening = await listen(app, 0, '127.0.0.1');
  http = new HttpClient(`http://127.0.0.1:${portOf(listening)}`);
  stop = async () => {
    http.close();
    await stopListening(listening, 1_000);
    await apns.close();
  };
});
afterAll(() => stop());

it('what goes wrong after the command was committed is a push_error: the command is queued and its push stays owed (nanomdm §4.6)', async () => {
  const device = await TestDevice.enrolled(server);
  const uuid = randomUUID();
  const reply = await http.send(`/v1/enqueue/${device.id}`, { method: 'PUT', body: makeCommand(uuid) });
  expect([reply.status, JSON.parse(reply.text)]).toEqual([
    500,
    { push_error: 'internal error', command_uuid: uuid, request_type: 'ProfileList' },
  ]);
  expect(await readQueue(test.db, device.id)).toEqual([uuid]);
  const row = await readEnrollment(test.db, device.id);
  expect(
    await test.db.rows("SELECT 1 FROM outbox WHERE kind = 'push.send' AND `key` = ?", [String(row?.id)]),
  ).toHaveLength(1);
});
