import { beforeAll, expect, it } from 'vitest';
import { slices } from '../../db/outbox.ts';
import {
  addHosts,
  countOwed,
  createCoreTables,
  createGate,
  HOST_KIND,
  hostJob,
  owe,
  readLedger,
  writeLedger,
} from '../harness/core-fixture.ts';
import { startCore } from '../harness/core-process.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { waitFor } from '../harness/wait-for.ts';

const test = useTestDatabase();
beforeAll(() => createCoreTables(test.db));

const FAN_OUT = 20_000;

it("a single person's job is not behind a fan-out to 20,000 hosts", async () => {
  const hosts: string[] = [];
  for (const slice of slices(Array.from({ length: FAN_OUT }), 2_000))
    hosts.push(...(await addHosts(test.db, slice.length)));
  const [person = ''] = await addHosts(test.db, 1);
  const order: string[] = [];
  const gate = createGate();
  const core = await startCore({
    databaseUrl: test.databaseUrl,
    redisUrl: test.redisUrl,
    prefix: test.prefix,
    relayEveryMs: 200,
    jobs: [
      hostJob({
        run: async (t, keys) => {
          await gate.hold();
          order.push(...keys);
          return void (await writeLedger(t, HOST_KIND, keys));
        },
      }),
    ],
  });
  await waitFor('the first round', () => core.relay.lastRoundAt);
  await owe(core.db, HOST_KIND, hosts, { bulk: true });
  await gate.reached;
  // The relay goes on: a deep queue gets one slice a round.
  const seen = core.relay.lastRoundAt;
  await waitFor('further rounds', () => (core.relay.lastRoundAt?.getTime() ?? 0) > (seen?.getTime() ?? 0) + 300);
  await owe(core.db, HOST_KIND, [person]);
  await core.publisher.drain();
  gate.open();
  await waitFor('everything to be settled', async () => (await countOwed(test.db)) === 0, 50_000);
  await core.stop();
  expect(new Set(Object.values(await readLedger(test.db)))).toEqual(new Set([1]));
  expect(order).toHaveLength(FAN_OUT + 1);
  // Two jobs under way, sixteen waiting, a page of sixteen more and a slice for each further round; not the eighty of the fan-out.
  expect(order.indexOf(person)).toBeLessThanOrEqual((2 + 16 + 16 + 6) * 256);
}, 60_000);
