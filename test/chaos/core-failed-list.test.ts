import type { Job as BullJob } from 'bullmq';
import { Redis } from 'ioredis';
import { beforeAll, describe, expect, it } from 'vitest';
import { readState } from '../../db/outbox.ts';
import { GiveUp } from '../../queue/errors.ts';
import {
  addHosts,
  countOwed,
  createCoreTables,
  HOST_KIND,
  hostJob,
  once,
  owe,
  readLedger,
  writeLedger,
} from '../harness/core-fixture.ts';
import { type CoreProcess, startCore } from '../harness/core-process.ts';
import { usePrivateRedis } from '../harness/core-redis.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { waitFor } from '../harness/wait-for.ts';

const test = useTestDatabase();
const redis = usePrivateRedis();
beforeAll(() => createCoreTables(test.db));

describe("Bull Board's Failed list is the list of failed rows", () => {
  it('shown, restored after FLUSHALL, retried in vain, retried with success', async () => {
    const hosts = await addHosts(test.db, 5);
    const poisoned = new Set(hosts.slice(1, 4));
    const core = await startCore({
      databaseUrl: test.databaseUrl,
      redisUrl: redis.url,
      prefix: '{failed}',
      jobs: [
        hostJob({
          run: async (t, keys) => {
            await writeLedger(t, HOST_KIND, keys);
            for (const key of keys) if (poisoned.has(key)) throw new GiveUp(`poison in ${key}`);
            return undefined;
          },
        }),
      ],
    });
    // The relay takes an empty Redis for a wiped one: what fails while it rebuilds would be shown twice.
    await waitFor('the first round of the relay', () => core.relay.lastRoundAt);
    await owe(core.db, HOST_KIND, hosts);
    expect(await shown(core, 3)).toEqual([...poisoned].map((key) => `${key}: poison in ${key}`));
    expect(await readLedger(test.db)).toEqual(once(hosts.filter((host) => !poisoned.has(host))));

    const client = new Redis({ path: redis.url.slice('unix://'.length) });
    await client.flushall();
    client.disconnect();
    expect(await shown(core, 3)).toEqual([...poisoned].map((key) => `${key}: poison in ${key}`));
    expect(await countOwed(test.db)).toBe(3);

    const [one = '', two = '', three = ''] = poisoned;
    await press(core, one);
    expect(await shown(core, 3)).toHaveLength(3);
    expect(await readState(test.db, HOST_KIND, one)).toMatchObject({ failed: true });

    poisoned.clear();
    await press(core, one);
    await waitFor('the row to be settled', async () => (await readState(test.db, HOST_KIND, one)) === undefined);
    expect(await shown(core, 2)).toHaveLength(2);

    // Owed again, it is done without anybody pressing; pressing then finds no row.
    await owe(core.db, HOST_KIND, [two]);
    await waitFor('the row to be settled', async () => (await readState(test.db, HOST_KIND, two)) === undefined);
    await press(core, two);
    expect(await shown(core, 1)).toEqual([`${three}: poison in ${three}`]);
    await press(core, three);
    expect(await shown(core, 0)).toEqual([]);
    expect(await readLedger(test.db)).toEqual(once(hosts));
    expect(await countOwed(test.db)).toBe(0);
    await core.stop();
  });
});

const failedJobs = (core: CoreProcess): Promise<BullJob[]> => core.queues[HOST_KIND].getFailed();

/** Waits until nothing is under way and `count` jobs are in the Failed list. @returns "key: reason", by key */
async function shown(core: CoreProcess, count: number): Promise<string[]> {
  const jobs = await waitFor(`${count} failed jobs`, async () => {
    const counts = await core.queues[HOST_KIND].getJobCounts('waiting', 'active', 'failed');
    const isQuiet = counts.waiting === 0 && counts.active === 0 && counts.failed === count;
    return isQuiet && failedJobs(core);
  });
  return jobs.map((job) => `${job.data.keys.join()}: ${job.failedReason}`).sort();
}

async function press(core: CoreProcess, key: string): Promise<void> {
  const job = (await failedJobs(core)).find((candidate) => candidate.data.keys.join() === key);
  expect(job).toBeDefined();
  await job?.retry();
}
