import { afterEach, beforeAll, expect, it } from 'vitest';
import { readState } from '../../db/outbox.ts';
import { closeQueues, openQueues } from '../../queue/queues.ts';
import { addHosts, countOwed, createCoreTables, HOST_KIND, once, owe, readLedger } from '../harness/core-fixture.ts';
import { type CoreFleet, startCoreFleet } from '../harness/core-fleet.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { waitFor } from '../harness/wait-for.ts';

const test = useTestDatabase();
let fleet: CoreFleet | undefined;
beforeAll(() => createCoreTables(test.db));
afterEach(() => fleet?.stop());

it('a key that kills its process is failed after eight counted attempts; its batch-mates get done long before', async () => {
  const hosts = await addHosts(test.db, 30);
  const killer = hosts[11] ?? '';
  const mates = hosts.filter((host) => host !== killer);
  await owe(test.db, HOST_KIND, hosts);
  fleet = await startCoreFleet(1, {
    databaseUrl: test.databaseUrl,
    redisUrl: test.redisUrl,
    prefix: test.prefix,
    kinds: [HOST_KIND],
    killers: [killer],
    stalledAfterMs: 1_000,
  });
  await waitFor('the batch-mates to be done', async () => (await countOwed(test.db)) === 1, 30_000);
  expect(await readState(test.db, HOST_KIND, killer)).toMatchObject({ failed: false });
  expect(await readLedger(test.db)).toEqual(once(mates));

  await waitFor('the killer to be failed', async () => (await readState(test.db, HOST_KIND, killer))?.failed, 50_000);
  expect(await readState(test.db, HOST_KIND, killer)).toMatchObject({
    attempts: 8,
    lastError: 'the process died at each attempt',
  });
  // Eight counted ones, and those of the batch before anybody knew that it held a killer.
  const deaths = fleet.deaths();
  expect(deaths).toBeGreaterThanOrEqual(9);

  const queues = openQueues({ redisUrl: test.redisUrl, prefix: test.prefix, onError: () => {} });
  const shown = await waitFor('the killer to be shown', async () => {
    const [job] = await queues[HOST_KIND].getFailed();
    return job;
  });
  expect([shown.data.keys, shown.failedReason]).toEqual([[killer], 'the process died at each attempt']);
  await closeQueues(queues);

  const later = await addHosts(test.db, 5);
  await owe(test.db, HOST_KIND, later, { bulk: true });
  await waitFor('the worker to live on', async () => (await countOwed(test.db)) === 1);
  expect(fleet.deaths()).toBe(deaths);
  expect(await readLedger(test.db)).toEqual(once([...mates, ...later]));
}, 90_000);
