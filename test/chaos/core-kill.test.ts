import { Redis } from 'ioredis';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { openDb } from '../../db/db.ts';
import { transaction } from '../../db/transaction.ts';
import { Publisher } from '../../queue/publish.ts';
import { closeQueues, openQueues } from '../../queue/queues.ts';
import { addChores, addHosts, countOwed, createCoreTables, HOST_KIND, readLedger } from '../harness/core-fixture.ts';
import { type CoreFleet, startCoreFleet } from '../harness/core-fleet.ts';
import { usePrivateRedis } from '../harness/core-redis.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { waitFor } from '../harness/wait-for.ts';

const test = useTestDatabase();
const redis = usePrivateRedis();
let fleet: CoreFleet | undefined;
beforeAll(() => createCoreTables(test.db));
afterEach(() => fleet?.stop());

const RUN_MS = 14_000;
const PREFIX = '{kill}';

/** mulberry32: small, and the same everywhere. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

it('workers killed at random, Redis wiped, poison: every chore is done exactly once', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  process.stdout.write(`core-kill: seed ${seed}\n`);
  const random = createRandom(seed);
  const hosts = await addHosts(test.db, 60);
  fleet = await startCoreFleet(2, {
    databaseUrl: test.databaseUrl,
    redisUrl: redis.url,
    prefix: PREFIX,
    kinds: [HOST_KIND],
    poison: 0.04,
    lingerMs: 25,
    relayEveryMs: 200,
    stalledAfterMs: 1_500,
  });
  const client = new Redis({ path: redis.url.slice('unix://'.length) });
  const queues = openQueues({ redisUrl: redis.url, prefix: PREFIX, onError: () => {} });
  const publisher = new Publisher(queues);
  const db = openDb({ databaseUrl: test.databaseUrl, connections: 4, secretKeys: [Buffer.alloc(32, 7)] });
  db.hint = (kind, keys) => publisher.hint(kind, keys);

  let chores = 0;
  let wipes = 0;
  let kills = 0;
  const endsAt = Date.now() + RUN_MS;
  const every = async (ms: () => number, act: () => Promise<unknown> | unknown): Promise<void> => {
    while (Date.now() < endsAt) {
      await new Promise((resolve) => setTimeout(resolve, ms()));
      await act();
    }
  };
  await Promise.all([
    every(
      () => 8,
      async () => {
        const some = hosts.filter(() => random() < 0.15);
        if (some.length === 0) return;
        await transaction(db, (t) => addChores(t, some, { bulk: random() < 0.1 }));
        chores += some.length;
      },
    ),
    every(
      () => 250 + random() * 900,
      () => {
        fleet?.kill(random() < 0.5 ? 0 : 1);
        kills += 1;
      },
    ),
    every(
      () => 2_000 + random() * 2_500,
      async () => {
        await client.flushall();
        wipes += 1;
      },
    ),
  ]);
  await waitFor('everything to be settled', async () => (await countOwed(test.db)) === 0, 42_000);
  process.stdout.write(`core-kill: ${chores} chores, ${kills} kills, ${wipes} wipes\n`);
  expect(kills).toBeGreaterThan(5);
  expect(wipes).toBeGreaterThan(1);
  const ledger = await readLedger(test.db);
  expect(Object.keys(ledger), `seed ${seed}`).toHaveLength(chores);
  expect(
    Object.entries(ledger).filter(([, times]) => times !== 1),
    `seed ${seed}`,
  ).toEqual([]);
  expect(await test.db.rows('SELECT id FROM chores LIMIT 5')).toEqual([]);
  await publisher.drain();
  await closeQueues(queues);
  client.disconnect();
  await db.close();
}, 75_000);
