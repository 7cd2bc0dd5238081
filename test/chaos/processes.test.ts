import { expect, it } from 'vitest';
import { useSystem } from '../harness/system.ts';
import { expectBooksToAgree, waitUntilSettled } from '../harness/system-books.ts';
import { chaosSeed, Enqueuing, startChaos, wipeRedis } from '../harness/system-chaos.ts';
import { waitFor } from '../harness/wait-for.ts';

const system = useSystem({ workers: 2, redis: 'own' });

it('server and workers killed, Redis wiped again and again: nothing lost, nothing done twice', async () => {
  const seed = chaosSeed('processes');
  const { fleet, random, enqueuing } = await startChaos(system, seed, { commands: 400 });
  const acts = [
    () => wipeRedis(system.redisUrl),
    () => system.server.restart(),
    () => wipeRedis(system.redisUrl),
    () => system.workers[random.int(0, 1)]?.restart(),
  ];
  for (let round = 0; round < 3; round++) {
    for (const act of acts) {
      await enqueuing.progress(random.int(10, 30));
      await act();
    }
  }
  // Both workers at once, and Redis with them: nobody is left who knows what is to be done.
  await Promise.all([...system.workers.map((worker) => worker.kill()), wipeRedis(system.redisUrl)]);
  await enqueuing.end();
  await Promise.all(system.workers.map((worker) => worker.start()));
  await waitUntilSettled(system.db, 45_000);
  await fleet.idle();
  // The last calls are stored, and the server dies before it has pushed. Nothing else will make these devices come.
  system.apns.silence('all');
  const last = new Enqueuing(system, fleet, random.fork('last'), { commands: 3, lanes: 3 });
  await waitFor('the last calls to be stored', async () => {
    const [row] = await system.db.rows<{ count: number }>('SELECT COUNT(*) AS count FROM commands');
    return row?.count === 403;
  });
  await system.server.kill();
  system.apns.speak();
  await system.server.start();
  await last.end();
  expect(last.foundStored).toBe(3);
  await waitUntilSettled(system.db, 30_000);
  await fleet.idle();
  const asked = new Map([...enqueuing.asked, ...last.asked]);
  process.stdout.write(`processes: ${enqueuing.asked.size} commands, ${enqueuing.retried} calls made again\n`);
  expect(enqueuing.asked.size).toBe(400);
  await expectBooksToAgree(system.db, fleet.ledger, asked);
  expect(fleet.ledger.totals().executedTwice).toBe(0);
}, 90_000);
