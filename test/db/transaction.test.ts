import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readState, settle, take } from '../../db/outbox.ts';
import { transaction } from '../../db/transaction.ts';
import type { JobKind } from '../../domain/job-kinds.ts';
import {
  addHosts,
  clearCore,
  countOwed,
  createCoreTables,
  createGate,
  HOST_KIND,
  lockHosts,
  owe,
  readLedger,
  waitUntilBlocked,
  writeLedger,
} from '../harness/core-fixture.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
let hints: { kind: JobKind; keys: readonly string[] }[] = [];

beforeAll(() => createCoreTables(test.db));
beforeEach(async () => {
  await clearCore(test.db);
  hints = [];
  test.db.hint = (kind, keys) => void hints.push({ kind, keys });
});

describe('hints', () => {
  it('are given after the commit, never before', async () => {
    const gate = createGate();
    const owing = transaction(test.db, async (t) => {
      t.owe(HOST_KIND, ['1', '2']);
      await gate.hold();
    });
    await gate.reached;
    expect(hints).toEqual([]);
    expect(await countOwed(test.db)).toBe(0);
    gate.open();
    await owing;
    expect(hints).toEqual([{ kind: HOST_KIND, keys: ['1', '2'] }]);
    expect(await countOwed(test.db)).toBe(2);
  });

  it('are not given after a rollback, and nothing is owed', async () => {
    let runs = 0;
    const failing = transaction(test.db, async (t) => {
      runs += 1;
      t.owe(HOST_KIND, ['1']);
      throw new Error('second thoughts');
    });
    await expect(failing).rejects.toThrow('second thoughts');
    expect(runs).toBe(1);
    expect(hints).toEqual([]);
    expect(await countOwed(test.db)).toBe(0);
  });

  it('are not given for what is owed in bulk or for later', async () => {
    await transaction(test.db, async (t) => {
      t.owe(HOST_KIND, ['1'], { bulk: true });
      t.owe(HOST_KIND, ['2'], { inMs: 60_000 });
    });
    expect(hints).toEqual([]);
    expect((await take(test.db, HOST_KIND, ['1', '2'])).map((row) => row.key)).toEqual(['1']);
  });

  it("a person's owing of a key that the same transaction also owes in bulk is hinted", async () => {
    await transaction(test.db, async (t) => {
      t.owe(HOST_KIND, ['1'], { bulk: true });
      t.owe(HOST_KIND, ['1']);
    });
    expect(hints).toEqual([{ kind: HOST_KIND, keys: ['1'] }]);
  });

  it('name what was owed while a transaction worked', async () => {
    await owe(test.db, HOST_KIND, ['1']);
    hints = [];
    await transaction(test.db, async (t) => {
      t.settle(HOST_KIND, await take(t, HOST_KIND, ['1']));
      await owe({ ...test.db, hint: () => {} }, HOST_KIND, ['1']);
    });
    expect(hints).toEqual([{ kind: HOST_KIND, keys: ['1'] }]);
  });
});

describe('owing', () => {
  it('gives back rows that settle what was written, however often the key was owed', async () => {
    const rows = await transaction(test.db, async (t) => {
      const early = t.owe('push.send', ['1'], { inMs: 10_000 });
      t.owe('push.send', ['1']);
      return early;
    });
    expect(await settle(test.db, 'push.send', rows)).toEqual([]);
    expect(await countOwed(test.db)).toBe(0);
  });

  it('of the key being settled is its next alarm: not due before its time', async () => {
    await owe(test.db, HOST_KIND, ['1']);
    hints = [];
    await transaction(test.db, async (t) => {
      const rows = await take(t, HOST_KIND, ['1']);
      t.owe(HOST_KIND, ['1'], { inMs: 60_000 });
      t.settle(HOST_KIND, rows);
    });
    expect(await take(test.db, HOST_KIND, ['1'])).toEqual([]);
    expect(await readState(test.db, HOST_KIND, '1')).toMatchObject({ attempts: 0, failed: false });
    expect(hints).toEqual([]);
  });

  it('of the next alarm gives way to a debt that came meanwhile', async () => {
    await owe(test.db, HOST_KIND, ['1']);
    await transaction(test.db, async (t) => {
      const rows = await take(t, HOST_KIND, ['1']);
      await owe({ ...test.db, hint: () => {} }, HOST_KIND, ['1']);
      t.owe(HOST_KIND, ['1'], { inMs: 60_000 });
      t.settle(HOST_KIND, rows);
    });
    expect(await take(test.db, HOST_KIND, ['1'])).toHaveLength(1);
  });
});

describe('contention', () => {
  it('two transactions that cross (1213): the victim runs again as a whole and owes exactly once', async () => {
    const [a = '', b = ''] = await addHosts(test.db, 2);
    const gates = [createGate(), createGate()];
    let runs = 0;
    const before = test.db.counters.contention;
    const cross = (first: string, second: string, gate = gates[0]): Promise<void> =>
      transaction(test.db, async (t) => {
        runs += 1;
        await lockHosts(t, [first], true);
        await writeLedger(t, HOST_KIND, [first]);
        t.owe(HOST_KIND, [first]);
        await gate?.hold();
        await lockHosts(t, [second], true);
      });
    const one = cross(a, b, gates[0]);
    const two = cross(b, a, gates[1]);
    await Promise.all(gates.map((gate) => gate.reached));
    gates[0]?.open();
    await waitUntilBlocked(test.db, 'hosts');
    gates[1]?.open();
    await Promise.all([one, two]);
    expect(runs).toBe(3);
    expect(test.db.counters.contention).toBe(before + 1);
    expect(await readLedger(test.db)).toEqual({ [a]: 1, [b]: 1 });
    expect(await countOwed(test.db)).toBe(2);
    expect(hints.flatMap((hint) => hint.keys).sort()).toEqual([a, b].sort());
  });

  it('outbox rows are the last locks: while a transaction works nobody waits for the rows that it owes', async () => {
    const [host = ''] = await addHosts(test.db, 1);
    await owe(test.db, HOST_KIND, [host]);
    const gate = createGate();
    const working = transaction(test.db, async (t) => {
      t.owe(HOST_KIND, [host]);
      t.settle('push.send', [{ key: host, stamp: 1, attempts: 0 }]);
      await lockHosts(t, [host], true);
      await gate.hold();
    });
    await gate.reached;
    const others = await test.db.rows('SELECT 1 FROM outbox WHERE `key` = ? FOR UPDATE NOWAIT', [host]);
    expect(others).toHaveLength(1);
    gate.open();
    await working;
  });

  it('an owing that meets an uncommitted settle waits for it, and its debt survives', async () => {
    await owe(test.db, HOST_KIND, ['1']);
    const rows = await take(test.db, HOST_KIND, ['1']);
    const settler = await test.db.connect();
    await settler.query('START TRANSACTION');
    await settler.query("DELETE FROM outbox WHERE kind = 'report.process' AND `key` = '1' AND stamp = ?", [
      rows[0]?.stamp,
    ]);
    const owing = owe(test.db, HOST_KIND, ['1']);
    await waitUntilBlocked(test.db, 'INSERT INTO outbox');
    await settler.query('COMMIT');
    settler.release();
    await owing;
    expect(await take(test.db, HOST_KIND, ['1'])).toHaveLength(1);
  });

  it('a settle that meets an uncommitted owing waits for it, and misses its stamp', async () => {
    await owe(test.db, HOST_KIND, ['1']);
    const rows = await take(test.db, HOST_KIND, ['1']);
    const owing = await test.db.connect();
    await owing.query('START TRANSACTION');
    await owing.query("UPDATE outbox SET stamp = 7 WHERE kind = 'report.process' AND `key` = '1'");
    const settling = settle(test.db, HOST_KIND, rows);
    await waitUntilBlocked(test.db, 'DELETE outbox');
    await owing.query('COMMIT');
    owing.release();
    expect(await settling).toEqual(['1']);
    expect(await take(test.db, HOST_KIND, ['1'])).toMatchObject([{ stamp: 7 }]);
  });
});

describe('an aborted signal', () => {
  it('ends a transaction that waits for a lock at once, rolls it back and gives its locks free', async () => {
    const [a = '', b = ''] = await addHosts(test.db, 2);
    const holder = await test.db.connect();
    await holder.query('START TRANSACTION');
    await holder.query('SELECT id FROM hosts WHERE id = ? FOR UPDATE', [b]);
    const abort = new AbortController();
    const aborted = transaction(
      test.db,
      async (t) => {
        await lockHosts(t, [a], true);
        await writeLedger(t, HOST_KIND, [a]);
        t.owe(HOST_KIND, [a]);
        await lockHosts(t, [b], true);
      },
      abort.signal,
    );
    await waitUntilBlocked(test.db, 'hosts');
    abort.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    await holder.query('COMMIT');
    holder.release();
    await transaction(test.db, (t) => lockHosts(t, [a, b], true));
    expect(await readLedger(test.db)).toEqual({});
    expect(await countOwed(test.db)).toBe(0);
    expect(hints).toEqual([]);
  });

  it('before the start nothing is begun', async () => {
    let runs = 0;
    const never = transaction(
      test.db,
      async () => {
        runs += 1;
      },
      AbortSignal.abort(new Error('too late')),
    );
    await expect(never).rejects.toThrow('too late');
    expect(runs).toBe(0);
  });

  it('does not leave its connection in the pool', async () => {
    const ids = new Set<number>();
    for (let round = 0; round < 20; round++) {
      const abort = new AbortController();
      const aborted = transaction(
        test.db,
        async (t) => {
          const [row] = await t.rows<{ id: number }>('SELECT CONNECTION_ID() AS id');
          if (row !== undefined) ids.add(row.id);
          abort.abort(new Error('enough'));
          await t.run('DO 1');
        },
        abort.signal,
      );
      await expect(aborted).rejects.toThrow('enough');
    }
    expect(ids.size).toBe(20);
    expect(await test.db.rows('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});
