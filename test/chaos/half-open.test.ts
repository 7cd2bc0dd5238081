import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Fleet } from '../../simulator/fleet.ts';
import { useSystem } from '../harness/system.ts';
import { expectBooksToAgree, waitUntilSettled } from '../harness/system-books.ts';
import { SilentProxy } from '../harness/system-proxy.ts';
import { makeCommand } from '../harness/test-device.ts';
import { waitFor } from '../harness/wait-for.ts';

/** A device waits a minute for an answer; what the server needs to give up on MySQL must be well below. */
const ANSWER_WITHIN_MS = 25_000;
const DEVICES = 10;

let database: SilentProxy;
let redis: SilentProxy;
const system = useSystem({
  between: async ({ databaseUrl, redisUrl }) => {
    const url = new URL(databaseUrl);
    database = await SilentProxy.start({ path: url.searchParams.get('socketPath') ?? '' });
    redis = await SilentProxy.start({ path: redisUrl.slice('unix://'.length) });
    return {
      databaseUrl: `mysql://root@127.0.0.1:${database.port}${url.pathname}`,
      redisUrl: `redis://127.0.0.1:${redis.port}`,
      stop: () => Promise.all([database.close(), redis.close()]).then(() => {}),
    };
  },
});
const asked = new Map<string, readonly string[]>();
let fleet: Fleet;

beforeAll(async () => {
  fleet = await system.startFleet({ devices: DEVICES, seed: 'half-open', behaviour: { backOffMs: [500] } });
});

async function askEveryone(): Promise<number> {
  const ids = fleet.devices.map((device) => device.udid);
  const uuid = randomUUID().toUpperCase();
  const command = makeCommand(uuid, 'DeviceInformation', { Queries: ['DeviceName'] });
  const { status } = await system.admin.enqueue(ids, command);
  if (status === 200) asked.set(uuid, ids);
  return status;
}

/** The statuses of the answers to reports that came after this moment. */
function newAnswers(): () => (number | null)[] {
  const read = () =>
    fleet.devices.map((device) =>
      device.ledger.events.flatMap((event) => (event.kind === 'report.answered' ? event.httpStatus : [])),
    );
  const before = read().map((answers) => answers.length);
  return () => read().flatMap((answers, index) => answers.slice(before[index]));
}

describe('MySQL goes silent and no connection is closed', () => {
  it('devices are answered 503 within bounded time, admins too; with new connections everything goes on', async () => {
    expect(await askEveryone()).toBe(200);
    await waitUntilSettled(system.db, 20_000);
    const answers = newAnswers();
    database.silence();
    for (const device of fleet.devices) void device.poll();
    const admin = askEveryone().catch(() => null);
    await waitFor(
      'each device to be told to come again',
      () => answers().filter((status) => status === 503).length >= DEVICES,
      ANSWER_WITHIN_MS,
    );
    expect(await admin).toBe(503);
    expect(answers().filter((status) => status !== 503)).toEqual([]);
    database.letNewOnesPass();
    await waitFor('admins to be served', async () => (await askEveryone()) === 200, ANSWER_WITHIN_MS);
    await waitUntilSettled(system.db, 60_000);
    await fleet.idle();
    await expectBooksToAgree(system.db, fleet.ledger, asked);
  }, 150_000);
});

describe('Redis goes silent and no connection is closed', () => {
  it('devices and admins are served; with new connections the workers go on', async () => {
    redis.silence();
    const answers = newAnswers();
    expect(await askEveryone()).toBe(200);
    await waitFor('every device to answer', () => answers().length >= 2 * DEVICES);
    expect(new Set(answers())).toEqual(new Set([200]));
    redis.letNewOnesPass();
    await waitUntilSettled(system.db, 90_000);
    await expectBooksToAgree(system.db, fleet.ledger, asked);
  }, 150_000);
});
