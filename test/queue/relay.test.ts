import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fail } from '../../db/outbox.ts';
import type { JobKind } from '../../domain/job-kinds.ts';
import { Publisher } from '../../queue/publish.ts';
import { closeQueues, type JobQueues, openQueues } from '../../queue/queues.ts';
import { connectRedis } from '../../queue/redis.ts';
import { Relay } from '../../queue/relay.ts';
import { clearCore, collectLog, createCoreTables, createGate, letTimePass, owe } from '../harness/core-fixture.ts';
import { usePrivateRedis } from '../harness/core-redis.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { waitFor } from '../harness/wait-for.ts';

const test = useTestDatabase();
const privateRedis = usePrivateRedis();
const KIND: JobKind = 'push.send';
const PREFIX = '{relay}';

interface Member {
  readonly relay: Relay;
  readonly queues: JobQueues;
  readonly publisher: Publisher;
  readonly redis: Redis;
  readonly log: ReturnType<typeof collectLog>;
}
const members: Member[] = [];

/** A worker process as far as the relay is concerned. */
async function join(): Promise<Member> {
  const queues = openQueues({ redisUrl: privateRedis.url, prefix: PREFIX, onError: () => {} });
  const publisher = new Publisher(queues);
  const redis = connectRedis(privateRedis.url, () => {});
  const log = collectLog();
  const member = {
    queues,
    publisher,
    redis,
    log,
    relay: new Relay({ db: test.db, redis, prefix: PREFIX, publisher, log, everyMs: 20 }),
  };
  members.push(member);
  await waitFor('Redis', () => redis.ping());
  return member;
}

/** One round, and the keys of the jobs that it left in the queue: those of one job together. */
async function roundOf(member: Member, kind = KIND): Promise<string[]> {
  await member.relay.round();
  await member.publisher.drain();
  const jobs = await member.queues[kind].getJobs('waiting', 0, -1, true);
  await member.queues[kind].drain();
  return jobs.map((job) => job.data.keys.join());
}

const epoch = (member: Member): Promise<string | null> => member.redis.get(`${PREFIX}:epoch`);
const expireLead = () => test.db.run('UPDATE leases SET held_until = NOW(6) - INTERVAL 1 SECOND');
const failRow = (key: string, limit: number) =>
  fail(test.db, KIND, key, { error: 'no luck', backoffMs: 0, limit, counted: false });
const keys = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `k${String(index).padStart(6, '0')}`);

beforeEach(async () => {
  await createCoreTables(test.db);
  await clearCore(test.db);
  await privateRedis.restart();
  const redis = new Redis({ path: privateRedis.url.slice('unix://'.length) });
  await redis.flushall();
  redis.disconnect();
});
afterEach(async () => {
  for (const { relay, queues, redis } of members.splice(0)) {
    await relay.stop();
    await closeQueues(queues);
    redis.disconnect();
  }
});

describe('what a round publishes', () => {
  it('rows whose look_at has passed, once: then they are leased', async () => {
    const member = await join();
    await roundOf(member);
    await owe(test.db, KIND, ['1', '2', '3']);
    await owe(test.db, KIND, ['4'], { inMs: 60_000 });
    expect(await roundOf(member)).toEqual([]);
    await test.db.run("UPDATE outbox SET look_at = NOW(6) WHERE `key` IN ('1', '2')");
    expect(await roundOf(member)).toEqual(['1,2']);
    expect(await roundOf(member)).toEqual([]);
  });

  it('what is owed in bulk at once, what is owed for later at its time', async () => {
    const member = await join();
    await roundOf(member);
    await owe(test.db, KIND, ['1'], { bulk: true });
    await owe(test.db, KIND, ['2'], { inMs: 60_000 });
    expect(await roundOf(member)).toEqual(['1']);
    await letTimePass(test.db, KIND);
    expect(await roundOf(member)).toEqual(['1,2']);
  });

  it('keys with failed attempts alone', async () => {
    const member = await join();
    await roundOf(member);
    await owe(test.db, KIND, ['1', '2', '3', '4']);
    await failRow('2', 8);
    await failRow('4', 8);
    await letTimePass(test.db, KIND);
    expect(await roundOf(member)).toEqual(['1,3', '2', '4']);
  });

  it('nothing of failed rows', async () => {
    const member = await join();
    await roundOf(member);
    await owe(test.db, KIND, ['1']);
    await failRow('1', 0);
    await letTimePass(test.db, KIND);
    expect(await roundOf(member)).toEqual([]);
  });

  it('a deep queue gets one slice a round, so that what only the relay can feed does not starve; other kinds go on', async () => {
    const member = await join();
    await roundOf(member);
    const deep = Array.from({ length: 17 }, () => ({ name: KIND, data: { v: 1 as const, keys: ['x'] } }));
    await member.queues[KIND].addBulk(deep);
    await owe(test.db, KIND, keys(1_000), { bulk: true });
    await owe(test.db, 'report.process', ['2'], { bulk: true });
    expect(await roundOf(member, 'report.process')).toEqual(['2']);
    const [published] = (await member.queues[KIND].getWaiting(17, 20)).map((job) => job.data.keys.length);
    expect(published).toBe(256);
    expect(await member.queues[KIND].count()).toBe(18);
  });

  it('a paused queue fills slowly', async () => {
    const member = await join();
    await roundOf(member);
    await member.queues[KIND].pause();
    await owe(test.db, KIND, keys(40_000), { bulk: true });
    for (let round = 0; round < 5; round++) await member.relay.round();
    await member.publisher.drain();
    // Two whole pages until it is deep, then a slice a round.
    expect(await member.queues[KIND].count()).toBe(2 * 16 + 3);
    await member.queues[KIND].resume();
  });
});

describe('after a wipe', () => {
  it('everything due is published at once, leased or not; failed rows alone, later ones not', async () => {
    const member = await join();
    await owe(test.db, KIND, ['1', '2', '3', '4']);
    await owe(test.db, KIND, ['5'], { inMs: 60_000 });
    await failRow('3', 8);
    await failRow('4', 0);
    await test.db.run('UPDATE outbox SET look_at = NOW(6) + INTERVAL 1 HOUR WHERE failed_at IS NULL');
    expect(await roundOf(member)).toEqual(['1,2', '3', '4']);
    expect(await epoch(member)).toBe('ready');
    expect(await roundOf(member)).toEqual([]);
    await member.redis.flushall();
    expect(await roundOf(member)).toEqual(['1,2', '3', '4']);
  });

  it('again in the middle of the rebuild: the next round begins anew', async () => {
    const member = await join();
    await owe(test.db, KIND, ['1', '2']);
    const gate = createGate();
    const push = member.queues['report.process'];
    const addBulk = push.addBulk.bind(push);
    push.addBulk = async (jobs) => {
      await gate.hold();
      return addBulk(jobs);
    };
    await owe(test.db, 'report.process', ['3']);
    // push.send comes first and is in Redis by the time that the rebuild stands at report.process.
    const round = member.relay.round();
    await gate.reached;
    expect(await member.queues[KIND].count()).toBe(1);
    await member.redis.flushall();
    gate.open();
    await round;
    expect(await epoch(member)).toBeNull();
    expect(await roundOf(member)).toEqual(['1,2']);
    expect(await epoch(member)).toBe('ready');
  });

  it('a relay killed in the middle of the rebuild: the next leader begins anew', async () => {
    const killed = await join();
    const next = await join();
    await owe(test.db, KIND, ['1', '2']);
    const never = createGate();
    killed.queues[KIND].addBulk = async () => {
      await never.hold();
      return [];
    };
    const round = killed.relay.round();
    await never.reached;
    expect(await epoch(killed)).toBe('rebuilding');
    expect(await roundOf(next)).toEqual([]);
    await expireLead();
    expect(await roundOf(next)).toEqual(['1,2']);
    expect(await epoch(next)).toBe('ready');
    never.open();
    await round;
  });

  it('stopped in the middle of the rebuild: it ends after the page, and the next leader begins anew', async () => {
    const member = await join();
    const next = await join();
    await owe(test.db, KIND, keys(5_000), { bulk: true });
    const gate = createGate();
    const queue = member.queues[KIND];
    const addBulk = queue.addBulk.bind(queue);
    queue.addBulk = async (jobs) => {
      await gate.hold();
      return addBulk(jobs);
    };
    member.relay.start();
    await gate.reached;
    const stopped = member.relay.stop();
    gate.open();
    await stopped;
    expect(await queue.count()).toBe(16);
    expect(await epoch(member)).toBe('rebuilding');
    await queue.drain();
    expect((await roundOf(next)).flatMap((job) => job.split(','))).toHaveLength(5_000);
    expect(await epoch(next)).toBe('ready');
  });
});

describe('the lead', () => {
  it('is with one of two', async () => {
    const [first, second] = [await join(), await join()];
    await roundOf(first);
    await owe(test.db, KIND, ['1'], { bulk: true });
    expect(await roundOf(second)).toEqual([]);
    expect(second.relay.lastRoundAt).toBeUndefined();
    expect(await roundOf(first)).toEqual(['1']);
    expect(first.relay.lastRoundAt).toBeInstanceOf(Date);
  });

  it('goes on at once when the leader stops', async () => {
    const [first, second] = [await join(), await join()];
    await roundOf(first);
    await owe(test.db, KIND, ['1'], { bulk: true });
    await first.relay.stop();
    expect(await roundOf(second)).toEqual(['1']);
  });

  it('goes on when the lease of a killed leader has run out, and is not given back', async () => {
    const [first, second] = [await join(), await join()];
    await roundOf(first);
    await owe(test.db, KIND, ['1'], { bulk: true });
    await expireLead();
    expect(await roundOf(second)).toEqual(['1']);
    await letTimePass(test.db, KIND);
    expect(await roundOf(first)).toEqual([]);
  });
});

describe('with Redis away', () => {
  it('nothing is leased, and a started relay goes on when it is back', async () => {
    const member = await join();
    await roundOf(member);
    await owe(test.db, KIND, ['1'], { bulk: true });
    const [before] = await test.db.rows('SELECT look_at FROM outbox');
    await privateRedis.kill();
    member.relay.start();
    await waitFor('failing rounds', () => member.log.events.filter((event) => event === 'relay.failed').length > 2);
    expect(await test.db.rows('SELECT look_at FROM outbox')).toEqual([before]);
    await privateRedis.restart();
    await waitFor('the row to be published', async () => (await member.queues[KIND].count()) > 0);
    expect(member.log.events).toContain('relay.rebuilt');
  });
});
