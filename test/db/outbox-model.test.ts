import fc from 'fast-check';
import { beforeEach, expect, it } from 'vitest';
import {
  countAttempt,
  fail,
  lease,
  newStamp,
  owe,
  postpone,
  retry,
  settle,
  settleUntil,
  type TakenRow,
  take,
} from '../../db/outbox.ts';
import { transaction } from '../../db/transaction.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const KIND = 'report.process';
const KEY = '7';
const LIMIT = 2;
const LATER_MS = 3_600_000;

/** What the row of one key should be, with time reduced to: is it due? */
interface Row {
  stamp: number;
  isDue: boolean;
  attempts: number;
  isFailed: boolean;
}
interface Model {
  row: Row | undefined;
  /** What slow workers hold in their hands: debts as they saw them. */
  readonly hands: TakenRow[];
}
/** Changes the model and the table alike, and compares what the statement answers. */
type Step = (model: Model) => Promise<void>;

const isTakable = (row: Row | undefined): row is Row => (row?.isDue ?? false) && row?.isFailed === false;

function oweModel({ row }: Model, stamp: number, isDue: boolean): Row {
  if (row === undefined || row.isFailed) return { stamp, isDue, attempts: 0, isFailed: false };
  return { ...row, stamp, isDue: row.attempts > 0 ? row.isDue : row.isDue || isDue };
}

/** What is still there after a settle was owed meanwhile. */
function keepModel(row: Row): Row {
  return row.isFailed ? row : { ...row, isDue: row.isDue || row.attempts > 0, attempts: 0 };
}

const oweStep =
  (inMs: number): Step =>
  async (model) => {
    const stamp = newStamp();
    await owe(test.db, KIND, [{ key: KEY, stamp, dueInMs: inMs, lookInMs: inMs }]);
    model.row = oweModel(model, stamp, inMs === 0);
  };

const takeStep: Step = async (model) => {
  const rows = await take(test.db, KIND, [KEY]);
  const { row } = model;
  expect(rows).toEqual(isTakable(row) ? [{ key: KEY, stamp: row.stamp, attempts: row.attempts }] : []);
  model.hands.push(...rows);
};

const settleStep: Step = async (model) => {
  const hand = model.hands.shift();
  if (hand === undefined) return;
  const again = await settle(test.db, KIND, [hand]);
  if (model.row?.stamp === hand.stamp) model.row = undefined;
  else if (model.row !== undefined) model.row = keepModel(model.row);
  expect(again).toEqual(isTakable(model.row) ? [KEY] : []);
};

const settleUntilStep: Step = async (model) => {
  const hand = model.hands.shift();
  if (hand === undefined) return;
  const isSettled = await settleUntil(test.db, KIND, hand, LATER_MS);
  expect(isSettled).toBe(model.row?.stamp === hand.stamp);
  const [row] = await test.db.rows<{ stamp: number }>('SELECT stamp FROM outbox');
  if (isSettled) {
    expect(row?.stamp).not.toBe(hand.stamp);
    model.row = { stamp: row?.stamp ?? -1, isDue: false, attempts: 0, isFailed: false };
  }
};

const settleAndOweLaterStep: Step = async (model) => {
  const hand = model.hands.shift();
  if (hand === undefined) return;
  const [owed] = await transaction(test.db, async (t) => {
    t.settle(KIND, [hand]);
    return t.owe(KIND, [KEY], { inMs: LATER_MS });
  });
  if (model.row?.stamp === hand.stamp) model.row = undefined;
  else if (model.row !== undefined) model.row = keepModel(model.row);
  model.row = oweModel(model, owed?.stamp ?? -1, false);
};

const failStep =
  (counted: boolean): Step =>
  async (model) => {
    const isFailed = await fail(test.db, KIND, KEY, { error: 'no', backoffMs: LATER_MS, limit: LIMIT, counted });
    const { row } = model;
    if (row !== undefined && !row.isFailed) {
      const attempts = row.attempts + (counted ? 0 : 1);
      model.row = { ...row, attempts, isFailed: attempts >= LIMIT, isDue: false };
    }
    expect(isFailed).toBe(model.row?.isFailed ?? false);
  };

const postponeStep =
  (counted: boolean): Step =>
  async (model) => {
    await postpone(test.db, KIND, KEY, { error: 'away', delayMs: LATER_MS, counted });
    const { row } = model;
    if (row === undefined || row.isFailed) return;
    model.row = { ...row, isDue: false, attempts: Math.max(row.attempts - (counted ? 1 : 0), 0) };
  };

const countStep: Step = async (model) => {
  const { row } = model;
  const count = await countAttempt(test.db, KIND, KEY, LIMIT);
  if (!isTakable(row)) expect(count).toBe('nothing');
  else if (row.attempts >= LIMIT) expect(count).toBe('exhausted');
  else {
    expect(count).toBe('counted');
    model.row = { ...row, attempts: row.attempts + 1 };
  }
};

const retryStep: Step = async (model) => {
  expect(await retry(test.db, KIND, [KEY])).toBe(model.row === undefined ? 0 : 1);
  if (model.row !== undefined) model.row = { ...model.row, attempts: 0, isFailed: false, isDue: true };
};

const leaseStep: Step = () => lease(test.db, KIND, [KEY]);

const timePassesStep: Step = async (model) => {
  await test.db.run(
    'UPDATE outbox SET due_at = NOW(6) - INTERVAL 1 SECOND, look_at = IF(failed_at IS NULL, NOW(6), NULL)',
  );
  if (model.row !== undefined) model.row.isDue = true;
};

const STEPS: Record<string, Step> = {
  'owe now': oweStep(0),
  'owe later': oweStep(LATER_MS),
  take: takeStep,
  settle: settleStep,
  'settle until': settleUntilStep,
  'settle and owe later': settleAndOweLaterStep,
  fail: failStep(false),
  'fail, counted': failStep(true),
  postpone: postponeStep(false),
  'postpone, counted': postponeStep(true),
  'count attempt': countStep,
  retry: retryStep,
  lease: leaseStep,
  'time passes': timePassesStep,
};

async function compare(model: Model): Promise<void> {
  const rows = await test.db.rows(
    `SELECT CAST(stamp AS CHAR) AS stamp, due_at <= NOW(6) AS isDue, attempts, failed_at IS NOT NULL AS isFailed,
       look_at IS NULL AS isNeverLookedAt,
       COALESCE(look_at > GREATEST(due_at, NOW(6)) + INTERVAL 30 SECOND, 0) AS isLookedAtTooLate
     FROM outbox`,
  );
  const { row } = model;
  expect(rows).toEqual(
    row === undefined
      ? []
      : [
          {
            stamp: String(row.stamp),
            isDue: Number(row.isDue),
            attempts: row.attempts,
            isFailed: Number(row.isFailed),
            isNeverLookedAt: Number(row.isFailed),
            isLookedAtTooLate: 0,
          },
        ],
  );
}

beforeEach(() => test.db.run('DELETE FROM outbox'));

it('any interleaving of statements on one key does what the model of a debt does', async () => {
  const interleaving = fc.array(fc.constantFrom(...Object.keys(STEPS)), { minLength: 3, maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(interleaving, async (names) => {
      await test.db.run('DELETE FROM outbox');
      const model: Model = { row: undefined, hands: [] };
      for (const name of names) {
        await STEPS[name]?.(model);
        await compare(model);
      }
    }),
    { numRuns: 500 },
  );
});
