import { beforeEach, describe, expect, it } from 'vitest';
import {
  fail,
  lease,
  lockOutboxRows,
  look,
  outboxDepths,
  owe as oweRows,
  pageDue,
  readState,
  retry,
  settle,
  settleUntil,
  take,
} from '../../db/outbox.ts';
import { transaction } from '../../db/transaction.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const KIND = 'report.process';
const owe = (keys: string[], inMs = 0) => transaction(test.db, async (t) => void t.owe(KIND, keys, { inMs }));
const failOnce = (key: string, limit = 8, backoffMs = 60_000) =>
  fail(test.db, KIND, key, { error: 'no luck', backoffMs, limit, counted: false });
const takenKeys = async (keys: string[]) => (await take(test.db, KIND, keys)).map((row) => row.key);
/** Whole seconds from now to the times of a row, rounded up; null for never. */
const times = async (key: string) =>
  (
    await test.db.rows<{ due: number; look: number | null }>(
      `SELECT CAST(CEIL(TIMESTAMPDIFF(MICROSECOND, NOW(6), due_at) / 1e6) AS SIGNED) AS due,
         CAST(CEIL(TIMESTAMPDIFF(MICROSECOND, NOW(6), look_at) / 1e6) AS SIGNED) AS look FROM outbox WHERE \`key\` = ?`,
      [key],
    )
  )[0];

beforeEach(() => test.db.run('DELETE FROM outbox'));

describe('owe and settle', () => {
  it('a debt ends with the stamp that was taken', async () => {
    await owe(['1', '2']);
    const rows = await take(test.db, KIND, ['2', '1', '3']);
    expect(rows.map((row) => row.key)).toEqual(['1', '2']);
    expect(await settle(test.db, KIND, rows)).toEqual([]);
    expect(await take(test.db, KIND, ['1', '2'])).toEqual([]);
  });

  it('what is owed while its job works stays, and is named for a hint', async () => {
    await owe(['1', '2']);
    const rows = await take(test.db, KIND, ['1', '2']);
    await owe(['2']);
    expect(await settle(test.db, KIND, rows)).toEqual(['2']);
    expect(await takenKeys(['1', '2'])).toEqual(['2']);
  });

  it('owed, settled and owed again under a slow reader: the newer debt survives', async () => {
    await owe(['1']);
    const slow = await take(test.db, KIND, ['1']);
    await settle(test.db, KIND, await take(test.db, KIND, ['1']));
    await owe(['1']);
    expect(await settle(test.db, KIND, slow)).toEqual(['1']);
    expect(await takenKeys(['1'])).toEqual(['1']);
  });

  it('settling what a twin has settled is nothing', async () => {
    await owe(['1']);
    const rows = await take(test.db, KIND, ['1']);
    await settle(test.db, KIND, rows);
    expect(await settle(test.db, KIND, rows)).toEqual([]);
  });

  it('what was owed meanwhile starts with no failed attempts, due now', async () => {
    await owe(['1']);
    const rows = await take(test.db, KIND, ['1']);
    await failOnce('1');
    await owe(['1']);
    expect(await settle(test.db, KIND, rows)).toEqual(['1']);
    expect(await readState(test.db, KIND, '1')).toMatchObject({ attempts: 0 });
  });

  it('works over many statements, with keys of other kinds untouched', async () => {
    const keys = Array.from({ length: 700 }, (_, index) => `k${index}`);
    await owe(keys);
    await transaction(test.db, async (t) => void t.owe('push.send', keys));
    const rows = await take(test.db, KIND, keys);
    expect(rows).toHaveLength(700);
    await settle(test.db, KIND, rows);
    expect(await test.db.rows('SELECT kind, COUNT(*) AS count FROM outbox GROUP BY kind')).toEqual([
      { kind: 'push.send', count: 700 },
    ]);
  });

  it('keys are bytes: case matters, and 96 characters fit', async () => {
    const keys = ['A', 'a', 'x'.repeat(96)];
    await owe(keys);
    expect(await takenKeys(keys)).toEqual(keys);
  });
});

describe('locking outbox rows', () => {
  it('skips or waits for the rows that are held, and never waits for a stranger', async () => {
    await owe(['1', '2', '3']);
    const holder = await test.db.connect();
    await holder.query('START TRANSACTION');
    await holder.query("SELECT stamp FROM outbox WHERE kind = ? AND `key` = '2' FOR UPDATE", [KIND]);
    await transaction(test.db, async (t) => {
      expect(await lockOutboxRows(t, KIND, ['3', '2', '1'], false)).toEqual(['1', '3']);
    });
    await transaction(test.db, async (t) => {
      await t.run('SET innodb_lock_wait_timeout = 1');
      expect(await lockOutboxRows(t, KIND, ['1', '3', '4'], true)).toEqual(['1', '3']);
      await t.run('SET innodb_lock_wait_timeout = 3');
    });
    await holder.query('ROLLBACK');
    holder.release();
  });
});

describe('times', () => {
  it('owed now: due now, looked at after the grace of a hint', async () => {
    await owe(['1']);
    expect(await times('1')).toEqual({ due: 0, look: 10 });
  });

  it('owed for later: not taken before, looked at when due', async () => {
    await owe(['1'], 60_000);
    expect(await takenKeys(['1'])).toEqual([]);
    expect(await times('1')).toEqual({ due: 60, look: 60 });
  });

  it('the earlier owing wins, whichever came first', async () => {
    await owe(['1'], 60_000);
    await owe(['2'], 20_000);
    await owe(['1'], 20_000);
    await owe(['2'], 60_000);
    expect([await times('1'), await times('2')]).toEqual([
      { due: 20, look: 20 },
      { due: 20, look: 20 },
    ]);
  });

  it('keeps the back-off of a row in trouble, and runs out of attempts though owed all the time', async () => {
    await owe(['1']);
    for (let attempt = 1; attempt <= 8; attempt++) {
      await owe(['1']);
      expect(await failOnce('1')).toBe(attempt === 8);
      if (attempt < 8) expect(await takenKeys(['1'])).toEqual([]);
    }
    expect(await readState(test.db, KIND, '1')).toMatchObject({ failed: true, lastError: 'no luck', attempts: 8 });
    expect(await times('1')).toEqual({ due: 60, look: null });
    await owe(['1']);
    expect(await readState(test.db, KIND, '1')).toMatchObject({ failed: false, attempts: 0 });
    expect(await takenKeys(['1'])).toEqual(['1']);
    expect(await times('1')).toEqual({ due: 0, look: 10 });
  });

  it('settleUntil sets the next alarm, but not over a debt that came meanwhile', async () => {
    await owe(['1', '2']);
    const [one, two] = await take(test.db, KIND, ['1', '2']);
    await owe(['2']);
    expect(one && (await settleUntil(test.db, KIND, one, 60_000))).toBe(true);
    expect(two && (await settleUntil(test.db, KIND, two, 60_000))).toBe(false);
    expect(await times('1')).toEqual({ due: 60, look: 60 });
    expect(await takenKeys(['1', '2'])).toEqual(['2']);
  });

  it('retry makes failed rows and rows in back-off due now', async () => {
    await owe(['1', '2']);
    await failOnce('1', 0);
    await failOnce('2');
    expect(await retry(test.db, KIND, ['1', '2', '3'])).toBe(2);
    expect(await takenKeys(['1', '2'])).toEqual(['1', '2']);
    expect(await readState(test.db, KIND, '1')).toMatchObject({ attempts: 0, failed: false });
  });
});

describe('the relay reads', () => {
  it('look: what is overdue, longest first, without failed rows', async () => {
    await owe(['1', '2', '3', '4']);
    await failOnce('3', 0);
    await test.db.run("UPDATE outbox SET look_at = NOW(6) - INTERVAL 2 SECOND WHERE `key` = '2'");
    await test.db.run("UPDATE outbox SET look_at = NOW(6) - INTERVAL 1 SECOND WHERE `key` = '1'");
    expect(await look(test.db, KIND, 10)).toEqual([
      { key: '2', attempts: 0 },
      { key: '1', attempts: 0 },
    ]);
    expect(await look(test.db, KIND, 1)).toHaveLength(1);
  });

  it('lease: only rows that are still due; one that failed or set its next alarm meanwhile keeps its own time', async () => {
    await owe(['due', 'failed', 'backing', 'alarm']);
    const rows = await take(test.db, KIND, ['alarm']);
    await failOnce('failed', 0);
    await failOnce('backing', 8, 2_000);
    for (const row of rows) await settleUntil(test.db, KIND, row, 3_000);
    await lease(test.db, KIND, ['due', 'failed', 'backing', 'alarm']);
    expect([await times('due'), await times('backing'), await times('alarm')]).toMatchObject([
      { look: 30 },
      { look: 2 },
      { look: 3 },
    ]);
    expect((await times('failed'))?.look).toBeNull();
  });

  it('pageDue: everything due or failed, by key, page by page', async () => {
    await oweRows(
      test.db,
      KIND,
      ['a', 'b', 'c', 'd', 'e'].map((key, index) => ({
        key,
        stamp: index,
        dueInMs: key === 'c' ? 60_000 : 0,
        lookInMs: 90_000,
      })),
    );
    await failOnce('d', 0);
    const first = await pageDue(test.db, KIND, '', 2);
    expect(first.map((row) => row.key)).toEqual(['a', 'b']);
    expect(await pageDue(test.db, KIND, 'b', 2)).toEqual([
      { key: 'd', attempts: 1, failed: 1 },
      { key: 'e', attempts: 0, failed: 0 },
    ]);
    expect(await pageDue(test.db, KIND, 'e', 2)).toEqual([]);
  });

  it('outboxDepths: counts as numbers, the age of the oldest debt that is due', async () => {
    await owe(['1', '2', '3']);
    await owe(['4'], 60_000);
    await failOnce('1', 0);
    await test.db.run("UPDATE outbox SET due_at = NOW(6) - INTERVAL 90 SECOND WHERE `key` IN ('1', '2')");
    const [depth] = await outboxDepths(test.db);
    expect(depth).toMatchObject({ kind: KIND, owed: 4, failed: 1 });
    expect(Math.round(depth?.oldestSeconds ?? 0)).toBe(90);
  });
});
