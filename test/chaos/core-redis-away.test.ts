import { beforeAll, expect, it } from 'vitest';
import { transaction } from '../../db/transaction.ts';
import {
  addChores,
  addHosts,
  countOwed,
  createCoreTables,
  createGate,
  doChores,
  hostJob,
  readLedger,
} from '../harness/core-fixture.ts';
import { startCore } from '../harness/core-process.ts';
import { usePrivateRedis } from '../harness/core-redis.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { waitFor } from '../harness/wait-for.ts';

const test = useTestDatabase();
const redis = usePrivateRedis();
beforeAll(() => createCoreTables(test.db));

/** Longer than a worker blocks on Redis: BullMQ once stopped consuming for good after such an outage (stack-2026 §1.9). */
const LONG_MS = 8_000;

it('Redis killed in the middle of a job, away for long, back empty: owing never waits and everything takes effect once', async () => {
  const hosts = await addHosts(test.db, 300);
  const gate = createGate();
  let isHeld = true;
  const core = await startCore({
    databaseUrl: test.databaseUrl,
    redisUrl: redis.url,
    prefix: '{away}',
    jobs: [
      hostJob({
        run: async (t, keys) => {
          await doChores(t, keys);
          if (isHeld) await gate.hold();
          return undefined;
        },
      }),
    ],
  });
  const add = (some: readonly string[]): Promise<void> => transaction(core.db, (t) => addChores(t, some));
  await add(hosts.slice(0, 10));
  await gate.reached;

  await redis.kill();
  const killedAt = Date.now();
  let owed = 10;
  isHeld = false;
  gate.open();
  await waitFor('a job to commit without Redis', async () => Object.keys(await readLedger(test.db)).length === 10);
  await waitFor('a long outage', async () => {
    await add(hosts);
    owed += hosts.length;
    return Date.now() - killedAt > LONG_MS;
  });
  expect(await countOwed(test.db)).toBe(hosts.length);
  expect(core.publisher.dropped).toBeGreaterThan(0);

  await redis.restart();
  await waitFor('everything to be settled', async () => (await countOwed(test.db)) === 0);
  const ledger = await readLedger(test.db);
  expect(Object.keys(ledger)).toHaveLength(owed);
  expect(new Set(Object.values(ledger))).toEqual(new Set([1]));
  expect(core.log.events).toContain('relay.rebuilt');
  await core.stop();
});
