import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Db } from '../../db/db.ts';
import { fail, readState, take } from '../../db/outbox.ts';
import { transaction } from '../../db/transaction.ts';
import { GiveUp, RetryLater } from '../../queue/errors.ts';
import { isLost, runCounted, runKeys } from '../../workers/run-keys.ts';
import {
  addChores,
  addHosts,
  clearCore,
  countOwed,
  createCoreTables,
  createGate,
  doChores,
  HOST_KIND,
  hostJob,
  letTimePass,
  lockHosts,
  once,
  owe,
  readLedger,
  waitUntilBlocked,
  writeLedger,
} from '../harness/core-fixture.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const never = new AbortController().signal;
const hinted: string[] = [];

beforeAll(() => createCoreTables(test.db));
beforeEach(async () => {
  await clearCore(test.db);
  hinted.length = 0;
  test.db.hint = (_kind, keys) => void hinted.push(...keys);
});

/** A host lock held by somebody else until the returned function is called. */
async function holdHost(host: string): Promise<() => Promise<void>> {
  const connection = await test.db.connect();
  await connection.query('START TRANSACTION');
  await connection.query('SELECT id FROM hosts WHERE id = ? FOR UPDATE', [Number(host)]);
  return async () => {
    await connection.query('COMMIT');
    connection.release();
  };
}

describe('the races of one key (core-mechanism C)', () => {
  it('two jobs for one key: the second waits at the lock and finds no row', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    const gate = createGate();
    let runs = 0;
    const job = hostJob({
      run: async (t, keys) => {
        runs += 1;
        await writeLedger(t, HOST_KIND, keys);
        await gate.hold();
        return undefined;
      },
    });
    const first = runKeys(test.db, job, hosts, never);
    await gate.reached;
    const second = runKeys(test.db, job, hosts, never);
    await waitUntilBlocked(test.db, 'hosts');
    gate.open();
    expect([(await first).done, (await second).done]).toEqual([1, 1]);
    expect(runs).toBe(1);
    expect(await readLedger(test.db)).toEqual(once(hosts));
    expect(await countOwed(test.db)).toBe(0);
  });

  it('owed while its job waits: the job takes the new debt, one run is enough', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    await owe(test.db, HOST_KIND, hosts);
    await runKeys(test.db, hostJob(), hosts, never);
    expect(await readLedger(test.db)).toEqual(once(hosts));
    expect(await countOwed(test.db)).toBe(0);
  });

  it('owed while its job works: the row stays, and is hinted at once', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    hinted.length = 0;
    const gate = createGate();
    const job = hostJob({
      run: async (t, keys) => {
        await gate.hold();
        return void (await writeLedger(t, HOST_KIND, keys));
      },
    });
    const running = runKeys(test.db, job, hosts, never);
    await gate.reached;
    await owe({ ...test.db, hint: () => {} }, HOST_KIND, hosts);
    gate.open();
    await running;
    expect(hinted).toEqual(hosts);
    expect(await take(test.db, HOST_KIND, hosts)).toHaveLength(1);
  });

  it('owed between take and the reading of the domain: the state read includes it, one superfluous run follows', async () => {
    const hosts = await addHosts(test.db, 1);
    await transaction(test.db, (t) => addChores(t, hosts));
    const gate = createGate();
    const job = hostJob({
      run: async (t, keys) => {
        await gate.hold();
        return doChores(t, keys);
      },
    });
    const running = runKeys(test.db, job, hosts, never);
    await gate.reached;
    await transaction(test.db, (t) => addChores(t, hosts));
    gate.open();
    await running;
    expect(Object.values(await readLedger(test.db))).toEqual([1, 1]);
    expect(await countOwed(test.db)).toBe(1);
    await runKeys(test.db, hostJob({ run: doChores }), hosts, never);
    expect(Object.values(await readLedger(test.db))).toEqual([1, 1]);
    expect(await countOwed(test.db)).toBe(0);
  });

  it('an owing during a failing run: the back-off holds, and the attempt counts', async () => {
    const hosts = await addHosts(test.db, 1);
    const [host = ''] = hosts;
    await owe(test.db, HOST_KIND, hosts);
    const gate = createGate();
    const job = hostJob({
      run: async () => {
        await gate.hold();
        throw new Error('no luck');
      },
    });
    const running = runKeys(test.db, job, hosts, never);
    await gate.reached;
    await owe(test.db, HOST_KIND, hosts);
    gate.open();
    await running;
    await owe(test.db, HOST_KIND, hosts);
    expect(await take(test.db, HOST_KIND, hosts)).toEqual([]);
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ attempts: 1, lastError: 'no luck' });
  });

  it('a deleted host: two runs meet at the outbox row instead, and its debt ends once', async () => {
    const gone = ['4000000000'];
    await owe(test.db, HOST_KIND, gone);
    const gate = createGate();
    let runs = 0;
    const job = hostJob({
      run: async () => {
        runs += 1;
        return void (await gate.hold());
      },
    });
    const first = runKeys(test.db, job, gone, never);
    await gate.reached;
    const second = runKeys(test.db, job, gone, never);
    await waitUntilBlocked(test.db, 'outbox');
    gate.open();
    await Promise.all([first, second]);
    expect(runs).toBe(1);
    expect(await countOwed(test.db)).toBe(0);
  });
});

describe('a batch', () => {
  it('is one transaction', async () => {
    const hosts = await addHosts(test.db, 20);
    await owe(test.db, HOST_KIND, hosts);
    const batches: (readonly string[])[] = [];
    const job = hostJob({ run: async (_t, keys) => void batches.push(keys) });
    expect(await runKeys(test.db, job, hosts, never)).toMatchObject({ done: 20, exhausted: [] });
    expect(batches).toEqual([[...hosts].sort()]);
  });

  it('is done although one of its hosts is held, and the held one follows', async () => {
    const hosts = await addHosts(test.db, 4);
    const [held = '', ...others] = hosts;
    await owe(test.db, HOST_KIND, hosts);
    const release = await holdHost(held);
    const running = runKeys(test.db, hostJob(), hosts, never);
    await waitUntilBlocked(test.db, 'hosts');
    expect(await readLedger(test.db)).toEqual(once(others));
    expect((await take(test.db, HOST_KIND, hosts)).map((row) => row.key)).toEqual([held]);
    await release();
    expect(await running).toMatchObject({ done: 4 });
    expect(await readLedger(test.db)).toEqual(once(hosts));
  });

  it('with a poison key gets done; only the poison is counted', async () => {
    const hosts = await addHosts(test.db, 10);
    const poison = hosts[4] ?? '';
    await owe(test.db, HOST_KIND, hosts);
    const job = hostJob({
      run: async (t, keys) => {
        await writeLedger(t, HOST_KIND, keys);
        if (keys.includes(poison)) throw new Error('poison');
        return undefined;
      },
    });
    const result = await runKeys(test.db, job, hosts, never);
    expect(result.done).toBe(9);
    expect([...result.failures.keys()]).toEqual([poison]);
    expect(await readLedger(test.db)).toEqual(once(hosts.filter((host) => host !== poison)));
    expect(await readState(test.db, HOST_KIND, poison)).toMatchObject({ attempts: 1, failed: false });
    expect(await countOwed(test.db)).toBe(1);
  });

  it('leaves a key that failed before to a transaction of its own, counted first', async () => {
    const hosts = await addHosts(test.db, 3);
    const [troubled = '', ...fresh] = hosts;
    await owe(test.db, HOST_KIND, hosts);
    await fail(test.db, HOST_KIND, troubled, { error: 'once', backoffMs: 0, limit: 8, counted: false });
    const batches: { keys: readonly string[]; attempts: number | undefined }[] = [];
    const job = hostJob({
      run: async (_t, keys) => {
        batches.push({ keys, attempts: (await readState(test.db, HOST_KIND, troubled))?.attempts });
        return undefined;
      },
    });
    expect(await runKeys(test.db, job, hosts, never)).toMatchObject({ done: 3 });
    expect(batches).toEqual([
      { keys: fresh, attempts: 1 },
      { keys: [troubled], attempts: 2 },
    ]);
    expect(await countOwed(test.db)).toBe(0);
  });

  it('that is slow because of one key does not fail the others: each has the whole time limit', async () => {
    const hosts = await addHosts(test.db, 5);
    const [slow = '', ...others] = hosts;
    await owe(test.db, HOST_KIND, hosts);
    const job = hostJob({
      timeoutMs: 400,
      run: async (t, keys) => {
        await writeLedger(t, HOST_KIND, keys);
        if (keys.includes(slow)) await new Promise(() => {});
        return undefined;
      },
    });
    const result = await runKeys(test.db, job, hosts, never);
    expect([...result.failures.keys()]).toEqual([slow]);
    expect(await readLedger(test.db)).toEqual(once(others));
    expect(await readState(test.db, HOST_KIND, slow)).toMatchObject({ attempts: 1 });
  });
});

describe('a failure', () => {
  const failing = (error: unknown) =>
    hostJob({
      attempts: 3,
      run: async () => {
        throw error;
      },
    });

  it('is recorded with back-off; at the limit the row is failed and named', async () => {
    const hosts = await addHosts(test.db, 1);
    const [host = ''] = hosts;
    await owe(test.db, HOST_KIND, hosts);
    for (const attempt of [1, 2]) {
      const result = await runKeys(test.db, failing(new Error(`try ${attempt}`)), hosts, never);
      expect(result.exhausted).toEqual([]);
      expect(await take(test.db, HOST_KIND, hosts)).toEqual([]);
      await letTimePass(test.db, HOST_KIND);
    }
    const last = await runKeys(test.db, failing(new Error('try 3')), hosts, never);
    expect(last.exhausted).toEqual(hosts);
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ attempts: 3, failed: true, lastError: 'try 3' });
  });

  it('GiveUp fails the row at once', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    expect((await runKeys(test.db, failing(new GiveUp('hopeless')), hosts, never)).exhausted).toEqual(hosts);
  });

  it('RetryLater says when', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    await runKeys(test.db, failing(new RetryLater('busy', 3_600_000)), hosts, never);
    const [row] = await test.db.rows<{ minutes: number }>(
      'SELECT TIMESTAMPDIFF(MINUTE, NOW(6), due_at) AS minutes FROM outbox',
    );
    expect(row?.minutes).toBe(59);
  });

  it('RetryLater counts no attempt: an outage of any length fails nothing, and a new owing may try at once', async () => {
    const hosts = await addHosts(test.db, 1);
    const [host = ''] = hosts;
    for (let outage = 0; outage < 20; outage++) {
      await owe(test.db, HOST_KIND, hosts);
      const { exhausted } = await runKeys(test.db, failing(new RetryLater('APNs is away')), hosts, never);
      expect(exhausted).toEqual([]);
    }
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({
      attempts: 0,
      failed: false,
      lastError: 'APNs is away',
    });
  });

  it('RetryLater counts no attempt of a key in trouble either, though such a key is counted before it is run', async () => {
    const hosts = await addHosts(test.db, 1);
    const [host = ''] = hosts;
    await owe(test.db, HOST_KIND, hosts);
    await fail(test.db, HOST_KIND, host, { error: 'once', backoffMs: 0, limit: 3, counted: false });
    for (let outage = 0; outage < 10; outage++) {
      const { exhausted } = await runCounted(test.db, failing(new RetryLater('APNs is away')), hosts, never);
      expect(exhausted).toEqual([]);
      await letTimePass(test.db, HOST_KIND);
    }
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ attempts: 1, failed: false });
  });

  it('contention that no repetition overcame counts no attempt either', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    const contended = Object.assign(new Error('Lock wait timeout exceeded'), { errno: 1205 });
    await runKeys(test.db, failing(contended), hosts, never);
    expect(await readState(test.db, HOST_KIND, hosts[0] ?? '')).toMatchObject({ attempts: 0, failed: false });
  });

  it('that is no Error, or very long, is recorded too', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    await runKeys(test.db, failing('💥'.repeat(400)), hosts, never);
    expect((await readState(test.db, HOST_KIND, hosts[0] ?? ''))?.lastError).toMatch(/^(💥){249}/u);
  });

  it('of a key that was settled by a twin meanwhile changes nothing', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    const job = hostJob({
      run: async () => {
        await test.db.run('DELETE FROM outbox');
        throw new Error('too late');
      },
    });
    expect((await runKeys(test.db, job, hosts, never)).exhausted).toEqual([]);
    expect(await countOwed(test.db)).toBe(0);
  });
});

describe('a run that is lost says nothing about its keys', () => {
  it('aborted: nothing is counted, nothing is written, the locks are free', async () => {
    const hosts = await addHosts(test.db, 3);
    await owe(test.db, HOST_KIND, hosts);
    const gate = createGate();
    const stop = new AbortController();
    const job = hostJob({
      run: async (t, keys) => {
        await writeLedger(t, HOST_KIND, keys);
        return void (await gate.hold());
      },
    });
    const running = runKeys(test.db, job, hosts, stop.signal);
    await gate.reached;
    stop.abort('shutdown');
    const error = await running.catch((thrown: unknown) => thrown);
    expect(isLost(error, stop.signal)).toBe(true);
    await transaction(test.db, (t) => lockHosts(t, hosts, true));
    expect(await readLedger(test.db)).toEqual({});
    expect(await take(test.db, HOST_KIND, hosts)).toMatchObject(hosts.map(() => ({ attempts: 0 })));
  });

  it('connection killed in the middle: the row remains as it was', async () => {
    const hosts = await addHosts(test.db, 2);
    await owe(test.db, HOST_KIND, hosts);
    const job = hostJob({
      run: async (t, keys) => {
        await writeLedger(t, HOST_KIND, keys);
        const [row] = await t.rows<{ id: number }>('SELECT CONNECTION_ID() AS id');
        await test.db.run('KILL ?', [row?.id]);
        return void (await t.run('DO 1'));
      },
    });
    const error = await runKeys(test.db, job, hosts, never).catch((thrown: unknown) => thrown);
    expect(isLost(error, never)).toBe(true);
    expect(await readLedger(test.db)).toEqual({});
    expect(await take(test.db, HOST_KIND, hosts)).toMatchObject(hosts.map(() => ({ attempts: 0 })));
  });
});

describe('a commit whose outcome is unknown', () => {
  it('the connection breaks after the commit: the run is lost, and running it again finds nothing to do', async () => {
    const hosts = await addHosts(test.db, 3);
    await owe(test.db, HOST_KIND, hosts);
    const lost = Object.assign(new Error('gone'), { code: 'PROTOCOL_CONNECTION_LOST', fatal: true });
    const breaking: Db = {
      ...test.db,
      connect: async () => {
        const connection = await test.db.connect();
        const query = connection.query.bind(connection);
        return Object.assign(connection, {
          query: async (sql: string, values: unknown[]) => {
            const result = await query(sql, values);
            if (sql === 'COMMIT') throw lost;
            return result;
          },
        });
      },
    };
    await expect(runKeys(breaking, hostJob(), hosts, never)).rejects.toBe(lost);
    await runKeys(test.db, hostJob(), hosts, never);
    expect(await readLedger(test.db)).toEqual(once(hosts));
    expect(await countOwed(test.db)).toBe(0);
  });
});

describe('counted before the run (keys of a killed worker)', () => {
  it('each attempt is committed before it is made, one key at a time, known suspects last', async () => {
    const hosts = await addHosts(test.db, 3);
    const [suspect = '', ...fresh] = hosts;
    await owe(test.db, HOST_KIND, hosts);
    await fail(test.db, HOST_KIND, suspect, { error: 'killed', backoffMs: 0, limit: 8, counted: false });
    const seen: [string, number | undefined][] = [];
    const job = hostJob({
      run: async (_t, [key = '']) => void seen.push([key, (await readState(test.db, HOST_KIND, key))?.attempts]),
    });
    expect(await runCounted(test.db, job, hosts, never)).toMatchObject({ done: 3 });
    expect(seen).toEqual([...fresh.map((key) => [key, 1]), [suspect, 2]]);
    expect(await countOwed(test.db)).toBe(0);
  });

  it('after its last attempt the key is failed without being run', async () => {
    const hosts = await addHosts(test.db, 1);
    const [host = ''] = hosts;
    await owe(test.db, HOST_KIND, hosts);
    await test.db.run('UPDATE outbox SET attempts = 8');
    const result = await runCounted(test.db, hostJob(), hosts, never);
    expect(result.exhausted).toEqual(hosts);
    expect(await readLedger(test.db)).toEqual({});
    expect(await readState(test.db, HOST_KIND, host)).toMatchObject({ attempts: 8, failed: true });
  });

  it('a key in back-off is neither counted nor run', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    await fail(test.db, HOST_KIND, hosts[0] ?? '', { error: 'no', backoffMs: 60_000, limit: 8, counted: false });
    await runCounted(test.db, hostJob(), hosts, never);
    expect(await readState(test.db, HOST_KIND, hosts[0] ?? '')).toMatchObject({ attempts: 1 });
    expect(await readLedger(test.db)).toEqual({});
  });

  it('a failure is not counted twice', async () => {
    const hosts = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, hosts);
    const job = hostJob({
      run: async () => {
        throw new Error('no');
      },
    });
    await runCounted(test.db, job, hosts, never);
    expect(await readState(test.db, HOST_KIND, hosts[0] ?? '')).toMatchObject({ attempts: 1 });
  });
});
