import { describe, expect, it } from 'vitest';
import { useSystem } from '../harness/system.ts';
import { expectBooksToAgree, waitUntilSettled } from '../harness/system-books.ts';
import { chaosSeed, startChaos } from '../harness/system-chaos.ts';

describe.each(['lasting', 'own'] as const)('a Redis that is killed and comes back (%s)', (redis) => {
  const system = useSystem({ redis });

  it(`${redis === 'own' ? 'empty' : 'with its append-only file'}: nothing lost, nothing done twice`, async () => {
    const seed = chaosSeed(`redis-killed ${redis}`);
    const { fleet, random, enqueuing } = await startChaos(system, seed, { commands: 200 });
    for (let round = 0; round < 4; round++) {
      await enqueuing.progress(random.int(10, 25));
      await system.redis.kill();
      // Admins and devices are served without it.
      await enqueuing.progress(random.int(5, 15));
      await system.redis.start();
    }
    await enqueuing.end();
    await waitUntilSettled(system.db, 40_000);
    await fleet.idle();
    expect(enqueuing.asked.size).toBe(200);
    expect(enqueuing.retried).toBe(0);
    await expectBooksToAgree(system.db, fleet.ledger, enqueuing.asked);
  }, 80_000);
});
