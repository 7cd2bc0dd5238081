import { beforeAll, describe, expect, it } from 'vitest';
import type { Executor } from '../../db/connection.ts';
import {
  countAttempt,
  fail,
  lease,
  lockOutboxRows,
  look,
  newStamp,
  owe,
  pageDue,
  postpone,
  readState,
  retry,
  settle,
  settleUntil,
  take,
} from '../../db/outbox.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const KIND = 'push.send';
const KEYS = ['100', '101', '102'];
const ROWS = KEYS.map((key) => ({ key, stamp: 1, attempts: 0 }));
const FAILURE = { error: 'no', backoffMs: 1_000, limit: 8, counted: false };

/** Every statement of the mechanism but the INSERT, which has no plan. */
const STATEMENTS: Record<string, { index: 'PRIMARY' | 'look'; run: (db: Executor) => Promise<unknown> }> = {
  take: { index: 'PRIMARY', run: (db) => take(db, KIND, KEYS) },
  lockOutboxRows: { index: 'PRIMARY', run: (db) => lockOutboxRows(db, KIND, KEYS, false) },
  settle: { index: 'PRIMARY', run: (db) => settle(db, KIND, ROWS) },
  settleUntil: { index: 'PRIMARY', run: (db) => settleUntil(db, KIND, { key: '100', stamp: 1, attempts: 0 }, 1_000) },
  fail: { index: 'PRIMARY', run: (db) => fail(db, KIND, '100', FAILURE) },
  postpone: {
    index: 'PRIMARY',
    run: (db) => postpone(db, KIND, '100', { error: 'away', delayMs: 1_000, counted: true }),
  },
  countAttempt: { index: 'PRIMARY', run: (db) => countAttempt(db, KIND, '100', 8) },
  readState: { index: 'PRIMARY', run: (db) => readState(db, KIND, '100') },
  retry: { index: 'PRIMARY', run: (db) => retry(db, KIND, KEYS) },
  lease: { index: 'PRIMARY', run: (db) => lease(db, KIND, KEYS) },
  pageDue: { index: 'PRIMARY', run: (db) => pageDue(db, KIND, '100', 4_096) },
  look: { index: 'look', run: (db) => look(db, KIND, 4_096) },
};

interface Plan {
  readonly type: string | null;
  readonly key: string | null;
  readonly Extra: string | null;
}

/** Runs a function and explains each of its statements just before it is executed. */
async function plansOf(run: (db: Executor) => Promise<unknown>): Promise<Plan[]> {
  const plans: Plan[] = [];
  const explain = async (sql: string, values: readonly unknown[] = []): Promise<void> =>
    void plans.push(...(await test.db.rows<Plan>(`EXPLAIN FORMAT=TRADITIONAL ${sql}`, values)));
  await run({
    rows: async (sql, values) => {
      await explain(sql, values);
      return test.db.rows(sql, values);
    },
    run: async (sql, values) => {
      await explain(sql, values);
      return test.db.run(sql, values);
    },
  });
  return plans;
}

// A nearly empty table is the usual case, and the one that both servers would rather scan (core-mechanism D2).
describe.each([0, 1, 5, 300, 5_000])('with %i rows', (count) => {
  beforeAll(async () => {
    await test.db.run('DELETE FROM outbox');
    const debts = Array.from({ length: count }, (_, index) => ({
      key: String(index),
      stamp: newStamp(),
      dueInMs: 0,
      lookInMs: 0,
    }));
    await owe(test.db, KIND, debts);
    await owe(test.db, 'report.process', debts.slice(0, 100));
    await test.db.rows('ANALYZE TABLE outbox');
  });

  it.each(Object.entries(STATEMENTS))('%s goes by its index', async (_name, { index, run }) => {
    const plans = await plansOf(run);
    expect(plans).not.toEqual([]);
    for (const plan of plans) {
      // A lookup of a whole primary key that finds nothing needs no plan.
      if (plan.key === null && /no matching row|Impossible WHERE/i.test(plan.Extra ?? '')) continue;
      expect(plan.key).toBe(index);
      expect(['range', 'const']).toContain(plan.type);
    }
  });
});
