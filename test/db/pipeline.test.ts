import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isDuplicate } from '../../db/errors.ts';
import { transaction } from '../../db/transaction.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const numbers = async (): Promise<number[]> =>
  (await test.db.rows<{ n: number }>('SELECT n FROM numbers ORDER BY n')).map((row) => row.n);

beforeAll(async () => {
  await test.db.run('CREATE TABLE numbers (n INT NOT NULL PRIMARY KEY, text LONGTEXT NULL)');
});
beforeEach(async () => {
  await test.db.run('DELETE FROM numbers');
});

/** Packets that were sent while `work` ran in a transaction. */
async function roundTrips(work: Parameters<typeof transaction<unknown>>[1]): Promise<string[]> {
  const connection = await test.db.connect();
  const sent: string[] = [];
  const query = connection.query.bind(connection);
  const watched = Object.assign(Object.create(connection), {
    query: (sql: string) => {
      sent.push(sql);
      return query(sql);
    },
    release: () => connection.release(),
    format: (sql: string, values: unknown[]) => connection.format(sql, values),
  });
  await transaction({ ...test.db, connect: async () => watched }, work);
  return sent;
}

describe('statements of a transaction', () => {
  it('travel together when nobody waits in between, BEGIN and COMMIT too', async () => {
    const sent = await roundTrips(async (t) => {
      void t.run('INSERT INTO numbers (n) VALUES (?)', [1]);
      void t.run('INSERT INTO numbers (n) VALUES (?)', [2]);
    });
    expect(sent).toEqual([
      'START TRANSACTION;\nINSERT INTO numbers (n) VALUES (1);\nINSERT INTO numbers (n) VALUES (2);\nCOMMIT',
    ]);
    expect(await numbers()).toEqual([1, 2]);
  });

  it('answer each for itself, in order', async () => {
    const answers = await transaction(test.db, (t) =>
      Promise.all([
        t.run('INSERT INTO numbers (n) VALUES (?), (?)', [1, 2]),
        t.rows('SELECT n FROM numbers ORDER BY n'),
        t.run('DELETE FROM numbers WHERE n = ?', [1]),
        t.rows('SELECT n FROM numbers'),
      ]),
    );
    expect(answers).toEqual([
      { affectedRows: 2, insertId: 0 },
      [{ n: 1 }, { n: 2 }],
      { affectedRows: 1, insertId: 0 },
      [{ n: 2 }],
    ]);
  });

  it('take a round trip for each answer that is awaited', async () => {
    const sent = await roundTrips(async (t) => {
      await t.rows('SELECT n FROM numbers');
      await t.run('INSERT INTO numbers (n) VALUES (1)');
    });
    expect(sent).toEqual(['START TRANSACTION;\nSELECT n FROM numbers', 'INSERT INTO numbers (n) VALUES (1)', 'COMMIT']);
  });

  it('of more than a megabyte are cut into several packets, in order', async () => {
    const text = 'x'.repeat(700_000);
    const sent = await roundTrips(async (t) => {
      for (const n of [1, 2, 3]) void t.run('INSERT INTO numbers (n, text) VALUES (?, ?)', [n, text]);
    });
    expect(sent.length).toBe(3);
    expect(await numbers()).toEqual([1, 2, 3]);
  });
});

describe('a statement that fails', () => {
  it('without being awaited fails the commit, and nothing is left', async () => {
    const failed = transaction(test.db, async (t) => {
      void t.run('INSERT INTO numbers (n) VALUES (1)');
      void t.run('INSERT INTO numbers (n) VALUES (1)');
      void t.run('INSERT INTO numbers (n) VALUES (2)');
    });
    await expect(failed).rejects.toSatisfy(isDuplicate);
    expect(await numbers()).toEqual([]);
  });

  it('fails everything behind it, even when it was caught', async () => {
    const failed = transaction(test.db, async (t) => {
      await t.run('INSERT INTO numbers (n) VALUES (1), (1)').catch(() => {});
      await t.run('INSERT INTO numbers (n) VALUES (2)');
    });
    await expect(failed).rejects.toSatisfy(isDuplicate);
    expect(await numbers()).toEqual([]);
  });

  it('or a query that could not even be put together fails the commit too', async () => {
    const query = async (): Promise<void> => {
      throw new Error('on purpose');
    };
    const failed = transaction(test.db, async (t) => {
      void t.run('INSERT INTO numbers (n) VALUES (1)');
      t.leave(query());
    });
    await expect(failed).rejects.toThrow('on purpose');
    expect(await numbers()).toEqual([]);
  });

  it('leaves the connection clean for the next transaction', async () => {
    await transaction(test.db, async (t) => void t.run('INSERT INTO numbers (n) VALUES (1), (1)')).catch(() => {});
    await transaction(test.db, async (t) => void t.run('INSERT INTO numbers (n) VALUES (3)'));
    expect(await numbers()).toEqual([3]);
  });
});

it('a text in a value stays a value, whatever it holds', async () => {
  const text = "'; DELETE FROM numbers; -- \\' ? ;\n";
  await transaction(test.db, async (t) => {
    void t.run('INSERT INTO numbers (n, text) VALUES (?, ?)', [1, text]);
    void t.run('INSERT INTO numbers (n, text) VALUES (?, ?)', [2, text]);
  });
  expect(await test.db.rows('SELECT n, text FROM numbers ORDER BY n')).toEqual([
    { n: 1, text },
    { n: 2, text },
  ]);
});
