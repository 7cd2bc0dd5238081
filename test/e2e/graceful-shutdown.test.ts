import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Fleet } from '../../simulator/fleet.ts';
import { makeRandom } from '../../simulator/random.ts';
import { useSystem } from '../harness/system.ts';
import { expectBooksToAgree, waitUntilSettled } from '../harness/system-books.ts';
import { chaosSeed, Enqueuing } from '../harness/system-chaos.ts';
import { makeCommand } from '../harness/test-device.ts';
import { waitFor } from '../harness/wait-for.ts';

const CLEAN = { code: 0, signal: null };
const DEVICES = 12;
const system = useSystem({ variables: { SHUTDOWN_SECONDS: '5' } });
const asked = new Map<string, readonly string[]>();
let fleet: Fleet;

beforeAll(async () => {
  // Devices that come again at once: what a request without an answer leads to is seen soon.
  fleet = await system.startFleet({ devices: DEVICES, seed: 'graceful', behaviour: { backOffMs: [50], slowMs: 20 } });
});
afterEach(() => {
  const stuck = [system.server, ...system.workers]
    .flatMap((one) => one.lines)
    .filter((line) => line.includes('.stuck"'));
  expect(stuck).toEqual([]);
});

const ids = (): string[] => fleet.devices.map((device) => device.udid);

async function ask(requestType = 'DeviceInformation'): Promise<string> {
  const uuid = randomUUID().toUpperCase();
  const fields = requestType === 'DeviceInformation' ? { Queries: ['DeviceName'] } : {};
  const { status } = await system.admin.enqueue(ids(), makeCommand(uuid, requestType, fields));
  expect(status).toBe(200);
  asked.set(uuid, ids());
  return uuid;
}

const isRefused = (): Promise<boolean> =>
  fetch(`${system.url}/healthz`, { headers: { connection: 'close' } }).then(
    () => false,
    () => true,
  );

/** Keeps the server from recording any report until it is called. */
async function holdReports(): Promise<() => Promise<void>> {
  const connection = await system.db.connect();
  await connection.query('START TRANSACTION');
  await connection.query('SELECT * FROM command_queue FOR UPDATE');
  return async () => {
    await connection.query('ROLLBACK');
    connection.release();
  };
}

describe('SIGTERM to the server', () => {
  it('with a request of every device under way: each is answered and recorded, new ones are refused, exit 0', async () => {
    for (const device of fleet.devices) device.availability.goAway();
    const uuid = await ask();
    const release = await holdReports();
    for (const device of fleet.devices) device.availability.comeBack();
    const records = () => fleet.ledger.commands(uuid);
    await waitFor(
      'every device to have sent its result',
      () => records().length === DEVICES && records().every((record) => record.answers.length === 1),
    );
    const stopped = system.server.stop();
    await waitFor('new requests to be refused', isRefused);
    expect(records().map((record) => record.answers[0]?.httpStatus)).toEqual(records().map(() => null));
    await release();
    expect(await stopped).toEqual(CLEAN);
    await waitFor('each to be answered', () => records().every((record) => record.answers[0]?.httpStatus === 200));
    expect(records().every((record) => record.answers.length === 1)).toBe(true);
    await system.server.start();
    await waitUntilSettled(system.db, 30_000);
    await expectBooksToAgree(system.db, fleet.ledger, asked);
  }, 60_000);

  it('again and again under load: no call is recorded without being answered, exit 0', async () => {
    const random = makeRandom(chaosSeed('graceful-shutdown'));
    const enqueuing = new Enqueuing(system, fleet, random, { commands: 150, lanes: 6 });
    for (let round = 0; round < 3; round++) {
      await enqueuing.progress(random.int(10, 25));
      expect(await system.server.stop()).toEqual(CLEAN);
      await system.server.start();
    }
    await enqueuing.end();
    for (const [uuid, some] of enqueuing.asked) asked.set(uuid, some);
    expect(enqueuing.foundStored).toBe(0);
    await waitUntilSettled(system.db, 30_000);
    await fleet.idle();
    await expectBooksToAgree(system.db, fleet.ledger, asked);
  }, 60_000);
});

describe('SIGTERM to a worker', () => {
  const worker = () => {
    const [first] = system.workers;
    if (first === undefined) throw new Error('this system has no worker');
    return first;
  };
  /** Pushes owed to a worker, as by a fan-out. */
  const owePushes = () =>
    system.db.run(
      `INSERT INTO outbox (kind, \`key\`, stamp, due_at, look_at) SELECT 'push.send', CAST(id AS CHAR), FLOOR(RAND() * 1e15), NOW(6), NOW(6) FROM enrollments WHERE is_device = 1`,
    );
  const countOwed = async (): Promise<number> =>
    (await system.db.rows<{ count: number }>("SELECT COUNT(*) AS count FROM outbox WHERE kind = 'push.send'"))[0]
      ?.count ?? -1;

  it('whose pushes are under way: they end and are settled, exit 0', async () => {
    system.apns.silence('all');
    await owePushes();
    await waitFor('the pushes to be under way', () => system.apns.counts.unanswered === DEVICES);
    const stopped = worker().stop();
    await waitFor('the worker to be stopping', () => worker().lines.some((line) => line.includes('process.stopping')));
    system.apns.speak();
    expect(await stopped).toEqual(CLEAN);
    expect(await countOwed()).toBe(0);
    await worker().start();
  }, 60_000);

  it('whose pushes get no answer: it gives them up in time, exit 0, and they are still owed', async () => {
    system.apns.silence('all');
    await owePushes();
    await waitFor('the pushes to be under way', () => system.apns.counts.unanswered === DEVICES);
    expect(await worker().stop()).toEqual(CLEAN);
    expect(await countOwed()).toBe(DEVICES);
    system.apns.speak();
    await worker().start();
    await waitUntilSettled(system.db, 50_000);
  }, 90_000);

  it('in the middle of results: what it did is done, the rest is owed, exit 0', async () => {
    for (let round = 0; round < 5; round++) await ask();
    expect(await worker().stop()).toEqual(CLEAN);
    await ask();
    await fleet.idle();
    await worker().start();
    await waitUntilSettled(system.db, 40_000);
    await expectBooksToAgree(system.db, fleet.ledger, asked);
  }, 60_000);
});
