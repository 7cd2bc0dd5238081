import { beforeEach, describe, expect, it } from 'vitest';
import { fail, readState, settle, take } from '../../db/outbox.ts';
import { transaction } from '../../db/transaction.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const KIND = 'report.process';
const owe = (keys: string[], inMs = 0) => transaction(test.db, async (t) => void t.owe(KIND, keys, { inMs }));

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
    expect((await take(test.db, KIND, ['1', '2'])).map((row) => row.key)).toEqual(['2']);
  });

  it('owed, settled and owed again under a slow reader: the newer debt survives', async () => {
    await owe(['1']);
    const slow = await take(test.db, KIND, ['1']);
    await settle(test.db, KIND, await take(test.db, KIND, ['1']));
    await owe(['1']);
    expect(await settle(test.db, KIND, slow)).toEqual(['1']);
  });

  it('keeps the back-off of a row in trouble, and runs out of attempts though owed all the time', async () => {
    await owe(['1']);
    for (let attempt = 1; attempt <= 8; attempt++) {
      await owe(['1']);
      const isFailed = await fail(test.db, KIND, '1', {
        error: `try ${attempt}`,
        backoffMs: 60_000,
        limit: 8,
        counted: false,
      });
      expect(isFailed).toBe(attempt === 8);
      if (attempt < 8) expect(await take(test.db, KIND, ['1'])).toEqual([]);
    }
    expect(await readState(test.db, KIND, '1')).toMatchObject({ failed: true, lastError: 'try 8', attempts: 8 });
    await owe(['1']);
    expect(await readState(test.db, KIND, '1')).toMatchObject({ failed: false, attempts: 0 });
    expect(await take(test.db, KIND, ['1'])).toHaveLength(1);
    await test.db.run('DELETE FROM outbox');
  });
});
