import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { lockOutboxRows, readState, take } from '../../db/outbox.ts';
import { PERIODIC_KEY } from '../../domain/job-kinds.ts';
import type { DatabaseJob } from '../../queue/define-job.ts';
import { runKeys } from '../../workers/run-keys.ts';
import {
  clearCore,
  createCoreTables,
  createGate,
  hostJob,
  letTimePass,
  owe,
  readLedger,
  waitUntilBlocked,
  writeLedger,
} from '../harness/core-fixture.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const KIND = 'maintenance.repush';
const TICK = [PERIODIC_KEY];
const never = new AbortController().signal;
const hinted: string[] = [];

beforeAll(() => createCoreTables(test.db));
beforeEach(async () => {
  await clearCore(test.db);
  await owe(test.db, KIND, TICK);
  hinted.length = 0;
  test.db.hint = (_kind, keys) => void hinted.push(...keys);
});

/** A tick that is its own alarm clock; the outbox row is the only lock. */
const tick = (before: () => Promise<void> = async () => {}): DatabaseJob =>
  hostJob({
    kind: KIND,
    attempts: Number.POSITIVE_INFINITY,
    dropsHeld: true,
    lock: (t, keys, wait) => lockOutboxRows(t, KIND, keys, wait),
    run: async (t, keys) => {
      await before();
      await writeLedger(t, KIND, keys);
      return { nextInMs: 60_000 };
    },
  });

describe('periodic work', () => {
  it('sets its next alarm and is not due before', async () => {
    await runKeys(test.db, tick(), TICK, never);
    await runKeys(test.db, tick(), TICK, never);
    expect(await readLedger(test.db)).toEqual({ tick: 1 });
    const [row] = await test.db.rows<{ seconds: number; isLookedAt: number }>(
      'SELECT TIMESTAMPDIFF(SECOND, NOW(6), due_at) AS seconds, look_at = due_at AS isLookedAt FROM outbox',
    );
    expect(row?.seconds).toBeGreaterThan(50);
    expect(row?.isLookedAt).toBe(1);
  });

  it('runs once when two workers have its job: the second drops it and does not wait', async () => {
    const gate = createGate();
    const first = runKeys(test.db, tick(gate.hold), TICK, never);
    await gate.reached;
    expect(await runKeys(test.db, tick(), TICK, never)).toMatchObject({ failures: new Map() });
    gate.open();
    await first;
    expect(await readLedger(test.db)).toEqual({ tick: 1 });
  });

  it('owed meanwhile: the owing waits for the commit and makes the next tick due now', async () => {
    const gate = createGate();
    const running = runKeys(test.db, tick(gate.hold), TICK, never);
    await gate.reached;
    const owing = owe(test.db, KIND, TICK);
    await waitUntilBlocked(test.db, 'INSERT INTO outbox');
    gate.open();
    await Promise.all([running, owing]);
    expect(await take(test.db, KIND, TICK)).toHaveLength(1);
    expect(hinted).toEqual(TICK);
  });

  it('a failing tick backs off, is never given up, and goes on with a clean row', async () => {
    const failing = tick(async () => {
      throw new Error('not today');
    });
    for (let attempt = 1; attempt <= 12; attempt++) {
      expect((await runKeys(test.db, failing, TICK, never)).exhausted).toEqual([]);
      expect(await take(test.db, KIND, TICK)).toEqual([]);
      await letTimePass(test.db, KIND);
    }
    expect(await readState(test.db, KIND, PERIODIC_KEY)).toMatchObject({ attempts: 12, failed: false });
    await runKeys(test.db, tick(), TICK, never);
    expect(await readState(test.db, KIND, PERIODIC_KEY)).toMatchObject({ attempts: 0, failed: false, lastError: null });
    expect(await readLedger(test.db)).toEqual({ tick: 1 });
  });
});
