import { beforeAll, describe, expect, it } from 'vitest';
import { JOB_KINDS } from '../../domain/job-kinds.ts';
import { connectRedis } from '../../queue/redis.ts';
import { selectKinds } from '../../workers/start-workers.ts';
import {
  addHosts,
  countOwed,
  createCoreTables,
  createGate,
  HOST_KIND,
  hostJob,
  once,
  owe,
  readLedger,
  writeLedger,
} from '../harness/core-fixture.ts';
import { startCore } from '../harness/core-process.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { waitFor } from '../harness/wait-for.ts';

const test = useTestDatabase();
beforeAll(() => createCoreTables(test.db));

const start = (name: string, job = hostJob()) =>
  startCore({
    databaseUrl: test.databaseUrl,
    redisUrl: test.redisUrl,
    prefix: `${test.prefix}-${name}`,
    jobs: [job],
  });

describe('selectKinds', () => {
  it.each([
    ['', [...JOB_KINDS]],
    [' , ', [...JOB_KINDS]],
    ['push.send', ['push.send']],
    ['push.*, report.process', ['push.send', 'report.process']],
    ['*', [...JOB_KINDS]],
    ['report.process,push.send,push.*', ['push.send', 'report.process']],
  ])('%j → %j', (selection, kinds) => {
    expect(selectKinds(selection)).toEqual(kinds);
  });

  it.each(['push', 'webhook.*', 'push.send;report.process'])('refuses %j', (selection) => {
    expect(() => selectKinds(selection)).toThrow('WORKER_QUEUES');
  });
});

describe('workers', () => {
  it('do what is owed, soon after the commit', async () => {
    const core = await start('plain');
    const hosts = await addHosts(test.db, 600);
    await owe(core.db, HOST_KIND, hosts);
    await waitFor('everything settled', async () => (await countOwed(test.db)) === 0);
    await core.stop();
    expect(await readLedger(test.db)).toEqual(once(hosts));
    await test.db.run('DELETE FROM ledger');
  });

  it('close: the job under way is finished, no further one is begun', async () => {
    const gate = createGate();
    const core = await start(
      'close',
      hostJob({
        concurrency: 1,
        run: async (t, keys) => {
          await writeLedger(t, HOST_KIND, keys);
          return void (await gate.hold());
        },
      }),
    );
    const [first = '', second = ''] = await addHosts(test.db, 2);
    await owe(core.db, HOST_KIND, [first]);
    await gate.reached;
    expect(core.workers.running[0]?.active()).toBe(1);
    const closing = core.workers.close(20_000);
    await owe(core.db, HOST_KIND, [second]);
    gate.open();
    await closing;
    expect(await readLedger(test.db)).toEqual(once([first]));
    expect(core.log.events).not.toContain('workers.aborted');
    await core.stop();
    const next = await start('close');
    await waitFor('the second is done by the next process', async () => (await countOwed(test.db)) === 0);
    await next.stop();
    expect(await readLedger(test.db)).toEqual(once([first, second]));
    await test.db.run('DELETE FROM ledger');
  });

  it('close with a limit: a run that does not end is aborted, and the next process does it at once, uncounted', async () => {
    const gate = createGate();
    const core = await start(
      'abort',
      hostJob({
        run: async (t, keys) => {
          await writeLedger(t, HOST_KIND, keys);
          return void (await gate.hold());
        },
      }),
    );
    const hosts = await addHosts(test.db, 3);
    await owe(core.db, HOST_KIND, hosts);
    await gate.reached;
    await core.workers.close(50);
    expect(core.log.events).toEqual(expect.arrayContaining(['workers.aborted', 'job.lost']));
    expect(await readLedger(test.db)).toEqual({});
    await core.stop();
    expect(await test.db.rows('SELECT DISTINCT attempts FROM outbox')).toEqual([{ attempts: 0 }]);
    // The relay would look after them much later: what comes at once is the hint of the aborted run.
    await test.db.run('UPDATE outbox SET look_at = NOW(6) + INTERVAL 1 HOUR');
    const next = await start('abort');
    await waitFor('the rest is done', async () => (await countOwed(test.db)) === 0);
    await next.stop();
    expect(await readLedger(test.db)).toEqual(once(hosts));
  });

  it('a run whose lock in Redis is lost is aborted, and done by whoever comes next', async () => {
    const gate = createGate();
    let runs = 0;
    const core = await startCore({
      databaseUrl: test.databaseUrl,
      redisUrl: test.redisUrl,
      prefix: `${test.prefix}-lock`,
      stalledAfterMs: 400,
      jobs: [
        hostJob({
          run: async (t, keys) => {
            runs += 1;
            await writeLedger(t, HOST_KIND, keys);
            if (runs === 1) await gate.hold();
            return undefined;
          },
        }),
      ],
    });
    await test.db.run('DELETE FROM ledger');
    const hosts = await addHosts(test.db, 2);
    await owe(core.db, HOST_KIND, hosts);
    await gate.reached;
    const redis = connectRedis(test.redisUrl, () => {});
    const locks = await waitFor('its lock', async () => {
      const keys = await redis.keys(`${test.prefix}-lock:${HOST_KIND}:*:lock`);
      return keys.length > 0 && keys;
    });
    await redis.del(locks);
    redis.disconnect();
    await waitFor('everything to be settled', async () => (await countOwed(test.db)) === 0);
    await core.stop();
    expect(core.log.events).toContain('job.lost');
    expect(await readLedger(test.db)).toEqual(once(hosts));
  });
});
