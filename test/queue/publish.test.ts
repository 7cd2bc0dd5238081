import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { JobKind } from '../../domain/job-kinds.ts';
import { Publisher } from '../../queue/publish.ts';
import { closeQueues, type JobQueues, openQueues } from '../../queue/queues.ts';
import { createGate, type Gate } from '../harness/core-fixture.ts';
import { usePrivateRedis } from '../harness/core-redis.ts';
import { waitFor } from '../harness/wait-for.ts';

const KIND: JobKind = 'push.send';
const redis = usePrivateRedis();
const opened: JobQueues[] = [];
let file = 0;

function open(): { queues: JobQueues; publisher: Publisher; jobs: () => Promise<(readonly string[])[]> } {
  file += 1;
  const queues = openQueues({ redisUrl: redis.url, prefix: `{p${file}}`, onError: () => {} });
  opened.push(queues);
  return {
    queues,
    publisher: new Publisher(queues),
    jobs: async () => (await queues[KIND].getJobs('waiting', 0, -1, true)).map((job) => job.data.keys),
  };
}

/** Lets each call of addBulk stand at a gate of its own. */
function standAtGates(queues: JobQueues): { calls: number[]; gates: Gate[] } {
  const calls: number[] = [];
  const gates = Array.from({ length: 4 }, createGate);
  const addBulk = queues[KIND].addBulk.bind(queues[KIND]);
  queues[KIND].addBulk = async (jobs) => {
    await gates[calls.push(jobs.length) - 1]?.hold();
    return addBulk(jobs);
  };
  return { calls, gates };
}

const keys = (count: number, from = 0): string[] => Array.from({ length: count }, (_, index) => `k${from + index}`);

beforeEach(async () => {
  await redis.restart();
});
afterAll(async () => {
  for (const queues of opened) await closeQueues(queues);
});

describe('publisher', () => {
  it('keys of several commits share a job, each key once', async () => {
    const { publisher, jobs } = open();
    publisher.hint(KIND, ['a', 'b']);
    publisher.hint(KIND, ['b', 'c']);
    await publisher.drain();
    expect(await jobs()).toEqual([['a', 'b', 'c']]);
  });

  it('has one addBulk in flight; what arrives meanwhile is the next', async () => {
    const { queues, publisher, jobs } = open();
    const { calls, gates } = standAtGates(queues);
    publisher.hint(KIND, ['a']);
    await gates[0]?.reached;
    for (const key of ['b', 'c', 'd']) {
      publisher.hint(KIND, [key]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(calls).toEqual([1]);
    gates[0]?.open();
    await gates[1]?.reached;
    gates[1]?.open();
    await publisher.drain();
    expect(calls).toEqual([1, 1]);
    expect(await jobs()).toEqual([['a'], ['b', 'c', 'd']]);
  });

  it('a job has at most 256 keys, a call at most 1,000 jobs', async () => {
    const { queues, publisher } = open();
    const sizes: number[] = [];
    queues[KIND].addBulk = async (jobs) => {
      sizes.push(jobs.length);
      for (const job of jobs) expect(job.data.keys.length).toBeLessThanOrEqual(256);
      return [];
    };
    publisher.hint(KIND, keys(600));
    publisher.hint(KIND, keys(1_500, 10_000), { alone: true });
    await publisher.drain();
    expect(sizes).toEqual([3, 1_000, 500]);
  });

  it('adds no hints to a queue that nobody works off; what Bull Board is to show it adds', async () => {
    const { queues, publisher } = open();
    const added: string[][] = [];
    queues[KIND].getWaitingCount = async () => 1_001;
    queues[KIND].addBulk = async (jobs) => {
      added.push(...jobs.map((job) => [...job.data.keys]));
      return [];
    };
    publisher.hint(KIND, keys(600));
    publisher.hint(KIND, ['failed'], { alone: true });
    await publisher.drain();
    expect(added).toEqual([['failed']]);
    expect(publisher.dropped).toBe(600);
  });

  it('gives keys in trouble a job of their own', async () => {
    const { publisher, jobs } = open();
    publisher.hint(KIND, ['a', 'b'], { alone: true });
    publisher.hint(KIND, ['c', 'd']);
    await publisher.drain();
    expect(await jobs()).toEqual([['c', 'd'], ['a'], ['b']]);
  });

  it('kinds do not wait for each other', async () => {
    const { queues, publisher } = open();
    const { gates } = standAtGates(queues);
    publisher.hint(KIND, ['a']);
    await gates[0]?.reached;
    publisher.hint('report.process', ['b']);
    await waitFor('the other kind', async () => (await queues['report.process'].count()) === 1);
    gates[0]?.open();
    await publisher.drain();
  });

  it('is bounded: beyond 50,000 keys they are dropped and counted', async () => {
    const { queues, publisher } = open();
    const { gates } = standAtGates(queues);
    publisher.hint(KIND, ['first']);
    await gates[0]?.reached;
    publisher.hint(KIND, keys(50_010));
    expect(publisher.dropped).toBe(10);
    queues[KIND].addBulk = async () => [];
    gates[0]?.open();
    await publisher.drain();
  });

  it('with Redis away keys are dropped at once and counted, and it goes on when Redis is back', async () => {
    const { publisher, jobs } = open();
    publisher.hint(KIND, ['a']);
    await publisher.drain();
    await redis.kill();
    publisher.hint(KIND, ['b', 'c']);
    await publisher.drain();
    expect(publisher.dropped).toBe(2);
    await redis.restart();
    await waitFor('a hint that arrives', async () => {
      publisher.hint(KIND, ['d']);
      await publisher.drain();
      return (await jobs()).length > 0;
    });
    expect((await jobs())[0]).toEqual(['d']);
  });

  it('started while Redis is away: draining ends at its limit', async () => {
    await redis.kill();
    const { publisher, jobs } = open();
    publisher.hint(KIND, ['a']);
    await publisher.drain(200);
    await redis.restart();
    await waitFor('the publisher to be of use', async () => {
      publisher.hint(KIND, ['b']);
      await publisher.drain(200);
      return (await jobs()).flat().includes('b');
    });
  });
});
