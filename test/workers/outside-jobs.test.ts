import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { TakenRow } from '../../db/outbox.ts';
import { readState, take } from '../../db/outbox.ts';
import { defineJob, type OutsideJob } from '../../queue/define-job.ts';
import { runKeys } from '../../workers/run-keys.ts';
import {
  clearCore,
  countOwed,
  createCoreTables,
  createGate,
  once,
  owe,
  readLedger,
  writeLedger,
} from '../harness/core-fixture.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const KIND = 'push.send';
const never = new AbortController().signal;
const hinted: string[] = [];

beforeAll(() => createCoreTables(test.db));
beforeEach(async () => {
  await clearCore(test.db);
  hinted.length = 0;
  test.db.hint = (_kind, keys) => void hinted.push(...keys);
});

/** I/O that the test sees, and a ledger row for each key that succeeded. */
function outsideJob(
  send: (rows: readonly TakenRow[], signal: AbortSignal) => Promise<ReadonlyMap<string, Error> | undefined>,
  timeoutMs = 30_000,
): OutsideJob {
  return defineJob<OutsideJob>({
    kind: KIND,
    effect: 'outside',
    timeoutMs,
    run: async (rows, signal) => {
      const failures = (await send(rows, signal)) ?? new Map<string, Error>();
      const sent = rows.map((row) => row.key).filter((key) => !failures.has(key));
      return { failures, record: (t) => writeLedger(t, KIND, sent) };
    },
  });
}

describe('an effect outside MySQL', () => {
  it('outcome and end of the row are one commit', async () => {
    await owe(test.db, KIND, ['1', '2']);
    await runKeys(
      test.db,
      outsideJob(async () => undefined),
      ['1', '2'],
      never,
    );
    expect(await readLedger(test.db)).toEqual(once(['1', '2']));
    expect(await countOwed(test.db)).toBe(0);
  });

  it('two workers at once are harmless: both send, the debt ends once, nothing fails', async () => {
    await owe(test.db, KIND, ['1']);
    const gates = [createGate(), createGate()];
    const [one, two] = gates.map((gate) =>
      runKeys(
        test.db,
        outsideJob(async () => void (await gate.hold())),
        ['1'],
        never,
      ),
    );
    await Promise.all(gates.map((gate) => gate.reached));
    for (const gate of gates) gate.open();
    expect([(await one)?.done, (await two)?.done]).toEqual([1, 1]);
    expect(await readLedger(test.db)).toEqual({ 1: 2 });
    expect(await countOwed(test.db)).toBe(0);
    expect(hinted).toEqual(['1']);
  });

  it('owed during the I/O: the row stays and is hinted', async () => {
    await owe(test.db, KIND, ['1', '2']);
    hinted.length = 0;
    const gate = createGate();
    const running = runKeys(
      test.db,
      outsideJob(async () => void (await gate.hold())),
      ['1', '2'],
      never,
    );
    await gate.reached;
    await owe({ ...test.db, hint: () => {} }, KIND, ['2']);
    gate.open();
    await running;
    expect(hinted).toEqual(['2']);
    expect((await take(test.db, KIND, ['1', '2'])).map((row) => row.key)).toEqual(['2']);
  });

  it('keys that failed are counted, the others settled', async () => {
    await owe(test.db, KIND, ['1', '2', '3']);
    const result = await runKeys(
      test.db,
      outsideJob(async () => new Map([['2', new Error('refused')]])),
      ['1', '2', '3'],
      never,
    );
    expect(result.done).toBe(2);
    expect(await readLedger(test.db)).toEqual(once(['1', '3']));
    expect(await readState(test.db, KIND, '2')).toMatchObject({ attempts: 1, lastError: 'refused' });
  });

  it('an outcome that cannot be recorded leaves the row: it is sent again, and the bad key alone is counted', async () => {
    await owe(test.db, KIND, ['1', '2']);
    const sent: string[][] = [];
    const job = defineJob<OutsideJob>({
      kind: KIND,
      effect: 'outside',
      run: async (rows) => {
        const keys = rows.map((row) => row.key);
        sent.push(keys);
        return {
          failures: new Map(),
          record: async (t) => {
            await writeLedger(t, KIND, keys);
            if (keys.includes('2')) throw new Error('cannot be written down');
          },
        };
      },
    });
    await runKeys(test.db, job, ['1', '2'], never);
    expect(sent.map((keys) => keys.join()).sort()).toEqual(['1', '1,2', '2']);
    expect(await readLedger(test.db)).toEqual(once(['1']));
    expect(await readState(test.db, KIND, '2')).toMatchObject({ attempts: 1 });
  });

  it('is told when its time is over, and counted', async () => {
    await owe(test.db, KIND, ['1']);
    const job = outsideJob(async (_rows, signal) => {
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      return undefined;
    }, 300);
    expect([...(await runKeys(test.db, job, ['1'], never)).failures.keys()]).toEqual(['1']);
    expect(await readState(test.db, KIND, '1')).toMatchObject({ attempts: 1 });
  });

  it('that ignores its signal is left behind, and counted', async () => {
    await owe(test.db, KIND, ['1']);
    const job = outsideJob(() => new Promise(() => {}), 300);
    await runKeys(test.db, job, ['1'], never);
    expect(await readState(test.db, KIND, '1')).toMatchObject({ attempts: 1 });
  });

  it('keys without a row are not sent', async () => {
    let isSent = false;
    const job = outsideJob(async () => {
      isSent = true;
      return undefined;
    });
    expect(await runKeys(test.db, job, ['1', '2'], never)).toMatchObject({ done: 2 });
    expect(isSent).toBe(false);
  });
});
