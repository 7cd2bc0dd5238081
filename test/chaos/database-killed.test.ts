import { expect, it } from 'vitest';
import { useSystem } from '../harness/system.ts';
import { expectBooksToAgree, waitUntilSettled } from '../harness/system-books.ts';
import { chaosSeed, startChaos, wipeRedis } from '../harness/system-chaos.ts';

const system = useSystem({ workers: 2, database: 'own', redis: 'own' });

it('the database killed, recovered, and killed with everything else: nothing lost, nothing done twice', async () => {
  const seed = chaosSeed('database-killed');
  const { fleet, random, enqueuing } = await startChaos(system, seed, { commands: 300 });
  for (let round = 0; round < 3; round++) {
    await enqueuing.progress(random.int(15, 40));
    await system.database.kill();
    await system.database.start();
  }
  await enqueuing.progress(random.int(10, 20));
  await Promise.all([
    system.database.kill(),
    system.server.kill(),
    ...system.workers.map((worker) => worker.kill()),
    wipeRedis(system.redisUrl),
  ]);
  await system.database.start();
  await Promise.all([system.server, ...system.workers].map((one) => one.start()));
  await enqueuing.end();
  await waitUntilSettled(system.db, 45_000);
  await fleet.idle();
  process.stdout.write(
    `database-killed: ${enqueuing.retried} calls made again, ${enqueuing.foundStored} had been stored\n`,
  );
  expect(enqueuing.asked.size).toBe(300);
  expect(enqueuing.retried).toBeGreaterThan(0);
  await expectBooksToAgree(system.db, fleet.ledger, enqueuing.asked);
}, 90_000);
