import { afterEach, beforeAll, expect, it } from 'vitest';
import { transaction } from '../../db/transaction.ts';
import { createGate, type Gate } from '../harness/core-fixture.ts';
import { readEnrollment, readQueue } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, TestDevice, TOPIC } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
let held: { gate: Gate; ended: Promise<void> } | undefined;

/** A second of waiting for a lock instead of three. */
beforeAll(() => {
  server.db.pool.pool.on('acquire', (connection) => {
    connection.query('SET innodb_lock_wait_timeout = 1');
  });
});
afterEach(async () => {
  held?.gate.open();
  await held?.ended;
});

/** Somebody who locks the rows of one device in a table, and keeps them until the gate is opened. */
async function hold(sql: string, id: number): Promise<void> {
  const gate = createGate();
  const ended = transaction(test.db, async (t) => {
    await t.rows(`${sql} FOR UPDATE`, [id]);
    await gate.hold();
  });
  held = { gate, ended };
  await gate.reached;
}

const internalIds = (devices: readonly TestDevice[]): Promise<number[]> =>
  Promise.all(devices.map(async ({ id }) => (await readEnrollment(test.db, id))?.id ?? 0));

it('a report whose row somebody holds is answered 503; the others of its batch are recorded meanwhile', async () => {
  const devices = await Promise.all(Array.from({ length: 6 }, () => TestDevice.enrolled(server)));
  await enqueue(server, devices, 'held');
  const ids = await internalIds(devices);
  await hold('SELECT 1 FROM command_queue WHERE enrollment_id = ?', ids[2] ?? 0);
  // Straight to the store, so that all of them are in one batch.
  const answers = await Promise.allSettled(
    ids.map((enrollmentId) =>
      server.device.store.recordReport({
        enrollmentId,
        hostId: 1,
        commandUuid: 'held',
        status: 'Acknowledged',
        isFinal: true,
        body: Buffer.of(1),
      }),
    ),
  );
  expect(answers.map((answer) => answer.status)).toEqual(
    devices.map((_, index) => (index === 2 ? 'rejected' : 'fulfilled')),
  );
  const refused = await devices[2]?.report('Acknowledged', 'held');
  expect([refused?.status, refused?.headers['retry-after']]).toEqual([503, '5']);
  expect(await readQueue(test.db, devices[2]?.id ?? '')).toEqual(['held']);

  held?.gate.open();
  await held?.ended;
  expect(await devices[2]?.next('Acknowledged', 'held')).toBeUndefined();
});

it('a TokenUpdate whose row is held waits for it, and the others of its batch do not', async () => {
  const devices = await Promise.all(Array.from({ length: 4 }, () => TestDevice.enrolled(server)));
  const ids = await internalIds(devices);
  await hold('SELECT 1 FROM push_tokens WHERE enrollment_id = ?', ids[0] ?? 0);
  const hosts = await test.db.rows<{ id: number; hostId: number }>(
    'SELECT id, host_id AS hostId FROM enrollments WHERE id IN (?)',
    [ids],
  );
  const update = (device: TestDevice, index: number) =>
    server.device.store.recordTokenUpdate({
      hostId: hosts.find(({ id }) => id === ids[index])?.hostId ?? 0,
      enrollmentKey: device.id.toLowerCase(),
      enrollmentId: device.id,
      isDevice: true,
      type: 'Device',
      userShortName: undefined,
      userLongName: undefined,
      topic: TOPIC,
      pushMagic: 'new',
      token: device.token,
      unlockToken: undefined,
      isAwaitingConfiguration: false,
      body: Buffer.of(1),
    });
  const [first, ...others] = devices.map(update);
  await Promise.all(others);
  for (const { id } of devices.slice(1))
    expect(await readEnrollment(test.db, id)).toMatchObject({ tally: 2, pushMagic: 'new' });
  held?.gate.open();
  await first;
  expect(await readEnrollment(test.db, devices[0]?.id ?? '')).toMatchObject({ tally: 2, pushMagic: 'new' });
});
