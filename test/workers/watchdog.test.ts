import { describe, expect, it } from 'vitest';
import { startWatchdog } from '../../workers/watchdog.ts';
import { waitFor } from '../harness/wait-for.ts';

const KIND = 'push.send';

function watch(options: { waiting: () => Promise<number>; active?: () => number; lastMovedAt?: () => number }) {
  const stuck: string[] = [];
  let rounds = 0;
  const stop = startWatchdog({
    running: [
      { kind: KIND, active: options.active ?? (() => 0), lastMovedAt: options.lastMovedAt ?? (() => Date.now() - 1e6) },
    ],
    waiting: () => {
      rounds += 1;
      return options.waiting();
    },
    onStuck: (kind) => void stuck.push(kind),
    everyMs: 5,
    stuckAfterMs: 40,
  });
  const manyRounds = () => waitFor('many rounds', () => rounds > 20);
  return { stuck, stop, manyRounds, rounds: () => rounds };
}

describe('watchdog', () => {
  it('calls once, with the kind whose jobs wait while nothing runs', async () => {
    const dog = watch({ waiting: async () => 3 });
    await waitFor('the call', () => dog.stuck.length > 0);
    const { rounds } = dog;
    const at = rounds();
    await new Promise((resolve) => setImmediate(resolve));
    expect(dog.stuck).toEqual([KIND]);
    expect(rounds()).toBe(at);
    dog.stop();
  });

  it('is quiet while a job runs, however long', async () => {
    const dog = watch({ waiting: async () => 3, active: () => 1 });
    await dog.manyRounds();
    dog.stop();
    expect(dog.stuck).toEqual([]);
  });

  it('is quiet while jobs begin and end', async () => {
    const dog = watch({ waiting: async () => 3, lastMovedAt: () => Date.now() });
    await dog.manyRounds();
    dog.stop();
    expect(dog.stuck).toEqual([]);
  });

  it('is quiet when nothing waits, and when Redis is away', async () => {
    let round = 0;
    const dog = watch({
      waiting: () => (round++ % 2 === 0 ? Promise.resolve(0) : Promise.reject(new Error('away'))),
    });
    await dog.manyRounds();
    dog.stop();
    expect(dog.stuck).toEqual([]);
  });

  it('does not call after it was stopped, not even from a check under way', async () => {
    const answer = Promise.withResolvers<number>();
    const dog = watch({ waiting: () => answer.promise });
    await waitFor('a check under way', () => dog.rounds() > 0);
    dog.stop();
    answer.resolve(3);
    const clock = watch({ waiting: async () => 0 });
    await clock.manyRounds();
    clock.stop();
    expect(dog.stuck).toEqual([]);
    expect(dog.rounds()).toBe(1);
  });
});
