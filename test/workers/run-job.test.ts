import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fail, readState } from '../../db/outbox.ts';
import type { Job } from '../../queue/define-job.ts';
import { GiveUp } from '../../queue/errors.ts';
import { type JobRun, runJob } from '../../workers/run-job.ts';
import {
  addHosts,
  clearCore,
  collectLog,
  countOwed,
  createCoreTables,
  HOST_KIND,
  hostJob,
  once,
  owe,
  readLedger,
} from '../harness/core-fixture.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const outcomes: string[] = [];
let hints: { keys: readonly string[]; alone: boolean }[] = [];
let log = collectLog();

beforeAll(() => createCoreTables(test.db));
beforeEach(async () => {
  await clearCore(test.db);
  outcomes.length = 0;
  hints = [];
  log = collectLog();
});

function run(job: Job, keys: readonly string[], how: Partial<JobRun> = {}, signal = new AbortController().signal) {
  const options = {
    db: test.db,
    log,
    publisher: {
      hint: (_kind: string, hinted: readonly string[], { alone = false } = {}) =>
        void hints.push({ keys: hinted, alone }),
    },
    metrics: { observeRun: (_kind: string, outcome: string) => void outcomes.push(outcome) },
  };
  return runJob(options, job, { data: { v: 1, keys }, attemptsMade: 0, stalledCounter: 0, ...how }, signal);
}

const failing = hostJob({
  run: async () => {
    throw new Error('no luck');
  },
});

async function failedRow(): Promise<string> {
  const [host = ''] = await addHosts(test.db, 1);
  await owe(test.db, HOST_KIND, [host]);
  await fail(test.db, HOST_KIND, host, { error: 'the row says why', backoffMs: 0, limit: 0, counted: false });
  return host;
}

describe('what a job carries', () => {
  it.each([
    {},
    { v: 2, keys: ['1'] },
    { v: 1, keys: [] },
    { v: 1, keys: [''] },
    { v: 1, keys: [1] },
    { v: 1, keys: Array.from({ length: 257 }, (_, index) => String(index)) },
  ])('must be keys: %j is refused', async (data) => {
    await expect(run(hostJob(), [], { data })).rejects.toThrow();
  });
});

describe('the row decides', () => {
  it('a job whose rows are gone is done', async () => {
    expect(await run(hostJob(), ['1'])).toEqual({ done: 1, failed: 0 });
    expect(outcomes).toEqual(['done']);
  });

  it('a failing run does not fail the job', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    expect(await run(failing, hosts)).toEqual({ done: 0, failed: 1 });
    expect(log.events).toEqual(['work.retried']);
    expect(outcomes).toEqual(['failed']);
    expect(hints).toEqual([]);
  });

  it('a row that runs out of attempts is hinted once more, alone, to be shown', async () => {
    const hosts = await addHosts(test.db, 2);
    await owe(test.db, HOST_KIND, hosts);
    const job = hostJob({
      run: async (_t, keys) => {
        if (keys.includes(hosts[1] ?? '')) throw new GiveUp('hopeless');
        return undefined;
      },
    });
    expect(await run(job, hosts)).toEqual({ done: 1, failed: 1 });
    expect(hints).toEqual([{ keys: [hosts[1]], alone: true }]);
    expect(log.events).toEqual(['work.failed']);
  });

  it("a single key whose row is failed throws the row's error without running", async () => {
    const host = await failedRow();
    await expect(run(hostJob(), [host])).rejects.toThrow('the row says why');
    expect(await readLedger(test.db)).toEqual({});
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ failed: true });
  });

  it('a failed row among others is left alone', async () => {
    const host = await failedRow();
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    await run(hostJob(), [host, ...hosts]);
    expect(await readLedger(test.db)).toEqual(once(hosts));
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ failed: true });
  });
});

describe('a person pressed Retry (attemptsMade ≥ 1)', () => {
  it('revives the row and runs it', async () => {
    const host = await failedRow();
    expect(await run(hostJob(), [host], { attemptsMade: 1 })).toEqual({ done: 1, failed: 0 });
    expect(await readLedger(test.db)).toEqual(once([host]));
    expect(await countOwed(test.db)).toBe(0);
  });

  it('failing again: job and row are failed again, and no second job shows it', async () => {
    const host = await failedRow();
    await expect(run(failing, [host], { attemptsMade: 1 })).rejects.toThrow('no luck');
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ failed: true, lastError: 'no luck' });
    expect(hints).toEqual([]);
  });

  it('on a row that is owed again by now: it runs at once, and the row goes on having its attempts', async () => {
    const [host = ''] = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, [host]);
    await fail(test.db, HOST_KIND, host, { error: 'no', backoffMs: 60_000, limit: 8, counted: false });
    expect(await run(failing, [host], { attemptsMade: 1 })).toEqual({ done: 0, failed: 1 });
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ failed: false, attempts: 1 });
  });

  it('row gone: success, nothing done', async () => {
    expect(await run(failing, ['1'], { attemptsMade: 1 })).toEqual({ done: 1, failed: 0 });
  });
});

describe('a job whose worker was killed (stalledCounter ≥ 1)', () => {
  it('counts each key before running it', async () => {
    const hosts = await addHosts(test.db, 2);
    await owe(test.db, HOST_KIND, hosts);
    const attempts: (number | undefined)[] = [];
    const job = hostJob({
      run: async (_t, [key = '']) => void attempts.push((await readState(test.db, HOST_KIND, key))?.attempts),
    });
    await run(job, hosts, { stalledCounter: 1 });
    expect(attempts).toEqual([1, 1]);
    expect(await countOwed(test.db)).toBe(0);
  });

  it('is no wish of a person, even if it was one before: a killer keeps its count', async () => {
    const [host = ''] = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, [host]);
    await test.db.run('UPDATE outbox SET attempts = 7');
    await run(failing, [host], { attemptsMade: 1, stalledCounter: 1 });
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ attempts: 8, failed: true });
    expect(hints).toEqual([{ keys: [host], alone: true }]);
  });

  it('of a failed row is shown by a fresh job, on which Retry can be told from a stall', async () => {
    const host = await failedRow();
    await run(hostJob(), [host], { attemptsMade: 1, stalledCounter: 2 });
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ failed: true });
    expect(await readLedger(test.db)).toEqual({});
    expect(hints).toEqual([{ keys: [host], alone: true }]);
  });
});

describe('a lost run', () => {
  it('told to stop: the keys are hinted again for somebody else, and nothing is counted', async () => {
    const hosts = await addHosts(test.db, 2);
    await owe(test.db, HOST_KIND, hosts);
    const stop = new AbortController();
    const job = hostJob({
      run: () => {
        stop.abort('shutdown');
        return new Promise(() => {});
      },
    });
    expect(await run(job, hosts, {}, stop.signal)).toEqual({ done: 0, failed: 2 });
    expect(hints).toEqual([{ keys: hosts, alone: false }]);
    expect(outcomes).toEqual(['lost']);
    expect(await readState(test.db, HOST_KIND, hosts[0] ?? '')).toMatchObject({ attempts: 0 });
  });

  it('with the database away: the job ends, the relay will bring its keys back', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    const job = hostJob({
      run: async () => {
        throw Object.assign(new Error('gone'), { code: 'ECONNREFUSED' });
      },
    });
    expect(await run(job, hosts)).toEqual({ done: 0, failed: 1 });
    expect(hints).toEqual([]);
    expect(outcomes).toEqual(['lost']);
    expect(await readState(test.db, HOST_KIND, hosts[0] ?? '')).toMatchObject({ attempts: 0 });
  });
});
