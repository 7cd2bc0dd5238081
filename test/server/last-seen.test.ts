import { describe, expect, it, vi } from 'vitest';
import type { Executor } from '../../db/connection.ts';
import { LastSeen } from '../../server/device/last-seen.ts';
import { collectLog } from '../harness/core-fixture.ts';
import { readEnrollment } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { TestDevice } from '../harness/test-device.ts';
import { startTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();

/** Notes the ids of each statement instead of running it. */
function noting(options: { maxHeld?: number; everyMs?: number; fail?: boolean } = {}) {
  const writes: unknown[][] = [];
  const log = collectLog();
  const db: Executor = {
    rows: async () => [],
    run: async (_sql, values = []) => {
      writes.push([...values]);
      if (options.fail) throw new Error('no');
      return { affectedRows: values.length, insertId: 0 };
    },
  };
  return { lastSeen: new LastSeen({ db, log, ...options }), writes, log };
}

describe('last seen, coalesced', () => {
  it('nanomdm §10 #49: nothing heard, nothing written', async () => {
    const { lastSeen, writes } = noting();
    await lastSeen.flush();
    expect(writes).toEqual([]);
  });

  it('nanomdm §10 #50, #53: what is heard between two ticks is one statement, each id once, in ascending order', async () => {
    vi.useFakeTimers();
    try {
      const { lastSeen, writes } = noting({ everyMs: 2_000 });
      for (const ids of [[3, 1, 3, 2], [5], [9, 1]]) {
        for (const id of ids) lastSeen.add(id);
        await vi.advanceTimersByTimeAsync(2_000);
      }
      await vi.advanceTimersByTimeAsync(10_000);
      expect(writes).toEqual([[1, 2, 3], [5], [1, 9]]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('nanomdm §10 #51: a full set is written at once', async () => {
    const { lastSeen, writes } = noting({ maxHeld: 2 });
    for (const id of [1, 2, 3, 4, 5, 6]) lastSeen.add(id);
    await lastSeen.flush();
    expect(writes).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
  });

  it('nanomdm §10 #52: size and time together', async () => {
    vi.useFakeTimers();
    try {
      const { lastSeen, writes } = noting({ maxHeld: 3, everyMs: 1_000 });
      for (const id of [1, 2, 3, 4]) lastSeen.add(id);
      await vi.advanceTimersByTimeAsync(999);
      expect(writes).toEqual([[1, 2, 3]]);
      await vi.advanceTimersByTimeAsync(1);
      expect(writes).toEqual([[1, 2, 3], [4]]);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('a flush that fails is logged and harms nobody', async () => {
    const { lastSeen, writes, log } = noting({ fail: true });
    lastSeen.add(1);
    await lastSeen.flush();
    expect(log.events).toEqual(['last-seen.lost']);
    lastSeen.add(2);
    await lastSeen.flush();
    expect(writes).toEqual([[1], [2]]);
  });
});

describe('last seen, of a server', () => {
  const seenAt = async (device: TestDevice): Promise<Date | undefined> => {
    const row = await readEnrollment(test.db, device.id);
    return (
      await test.db.rows<{ at: Date }>('SELECT seen_at AS at FROM last_seen WHERE enrollment_id = ?', [row?.id])
    )[0]?.at;
  };

  it('nanomdm §7.5: TokenUpdate shows at once, reports and bootstrap tokens with the next flush', async () => {
    const server = await startTestServer(test);
    try {
      const device = await TestDevice.enrolled(server);
      let seen = await seenAt(device);
      expect(seen).toBeDefined();
      for (const say of [
        () => device.report('Idle'),
        () => device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.of(1) }),
        () => device.checkIn('GetBootstrapToken'),
      ]) {
        const before = seen?.getTime() ?? 0;
        expect((await say()).status).toBe(200);
        await server.device.lastSeen.flush();
        seen = await seenAt(device);
        expect(seen?.getTime()).toBeGreaterThan(before);
      }
      const user = device.user({ UserID: 'U1' });
      await user.tokenUpdate();
      expect(await seenAt(user)).toBeDefined();
    } finally {
      await server.close();
    }
  });

  it('a server that is closed writes down what it holds', async () => {
    const server = await startTestServer(test);
    const device = await TestDevice.enrolled(server);
    await test.db.run('DELETE FROM last_seen');
    await device.report('Idle');
    await server.close();
    expect(await seenAt(device)).toBeDefined();
  });
});
