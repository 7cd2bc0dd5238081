import { beforeEach, describe, expect, it } from 'vitest';
import {
  cancelRepushes,
  type PushRecord,
  postponeRepushes,
  readDueRepushes,
  recordPushes,
} from '../../db/queries/push-targets.ts';
import { transaction } from '../../db/transaction.ts';
import { PERIODIC_KEY } from '../../domain/job-kinds.ts';
import { maintenanceRepush } from '../../workers/maintenance/repush.ts';
import { runKeys } from '../../workers/run-keys.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const TOKEN = Buffer.from('token of today');

interface PushRow {
  readonly repushIn: number | null;
  readonly unanswered: number;
  readonly isDead: number;
  readonly error: string | null;
}

const pushRow = async (id: number): Promise<PushRow | undefined> =>
  (
    await test.db.rows<PushRow>(
      `SELECT TIMESTAMPDIFF(SECOND, NOW(6), repush_at) AS repushIn, unanswered_pushes AS unanswered, dead_at IS NOT NULL AS isDead, last_push_error AS error
       FROM push_tokens WHERE enrollment_id = ?`,
      [id],
    )
  )[0];

async function addEnrollment(): Promise<number> {
  const key = `device-${Math.random()}`;
  const host = await test.db.run('INSERT INTO hosts (host_key) VALUES (?)', [key]);
  const { insertId } = await test.db.run(
    "INSERT INTO enrollments (host_id, enrollment_key, enrollment_id, is_device, type, enabled, token_update_tally) VALUES (?, ?, ?, 1, 'Device', 1, 1)",
    [host.insertId, key, key],
  );
  await test.db.run(
    "INSERT INTO push_tokens (enrollment_id, topic, push_magic, token, updated_at) VALUES (?, 'com.apple.mgmt.t', 'm', ?, NOW(6))",
    [insertId, TOKEN],
  );
  return insertId;
}

async function queueCommand(enrollmentId: number): Promise<void> {
  const { insertId } = await test.db.run(
    "INSERT INTO commands (command_uuid, request_type, body_sealed) VALUES (UUID(), 'ProfileList', '')",
  );
  await test.db.run('INSERT INTO command_queue (enrollment_id, urgency, command_id) VALUES (?, 0, ?)', [
    enrollmentId,
    insertId,
  ]);
}

const pushed = (enrollmentId: number, more: Partial<PushRecord> = {}): Promise<void> =>
  transaction(test.db, (t) =>
    recordPushes(
      t,
      [{ enrollmentId, token: TOKEN, status: 200, error: undefined, apnsId: undefined, deadSince: undefined, ...more }],
      600,
    ),
  );

const makeDue = (id: number) =>
  test.db.run('UPDATE push_tokens SET repush_at = NOW(6) - INTERVAL 1 SECOND WHERE enrollment_id = ?', [id]);

async function tick(): Promise<void> {
  await transaction(test.db, async (t) => void t.owe('maintenance.repush', [PERIODIC_KEY]));
  const result = await runKeys(test.db, maintenanceRepush(), [PERIODIC_KEY], new AbortController().signal);
  expect(result.failures.size).toBe(0);
}

const owedPushes = async (): Promise<number[]> =>
  (await test.db.rows<{ key: string }>("SELECT `key` FROM outbox WHERE kind = 'push.send'")).map((row) =>
    Number(row.key),
  );

beforeEach(() => test.db.run('DELETE FROM outbox'));

describe('repush of unanswered commands', () => {
  it('waits twice as long after each push that was not answered, a day at most', async () => {
    const id = await addEnrollment();
    const waits: (number | null | undefined)[] = [];
    for (let i = 0; i < 10; i++) {
      await pushed(id);
      waits.push((await pushRow(id))?.repushIn);
    }
    expect(waits.map((seconds) => Math.round((seconds ?? 0) / 100))).toEqual([
      6, 12, 24, 48, 96, 192, 384, 768, 864, 864,
    ]);
  });

  it('owes a push again where commands wait, and forgets the others', async () => {
    const [waiting, answered, early] = [await addEnrollment(), await addEnrollment(), await addEnrollment()];
    for (const id of [waiting, answered, early]) await pushed(id);
    for (const id of [waiting, early]) await queueCommand(id);
    for (const id of [waiting, answered]) await makeDue(id);
    await tick();
    expect(await owedPushes()).toEqual([waiting]);
    expect(await pushRow(answered)).toMatchObject({ repushIn: null, unanswered: 0 });
    expect((await pushRow(early))?.repushIn).toBeGreaterThan(500);
    await tick();
    expect(await owedPushes()).toEqual([waiting]);
    await test.db.run('DELETE FROM command_queue');
  });

  it('does not take back the time that a push set while the tick was running', async () => {
    const id = await addEnrollment();
    await pushed(id);
    await makeDue(id);
    const due = (await readDueRepushes(test.db, 10)).map((row) => row.enrollmentId);
    expect(due).toContain(id);
    // The tick has read; a push of somebody else commits before it writes.
    await pushed(id);
    await transaction(test.db, async (t) => {
      await cancelRepushes(t, due);
      await postponeRepushes(t, due, 300);
    });
    expect((await pushRow(id))?.repushIn).toBeGreaterThan(500);
  });

  it("a verdict on a token that was replaced meanwhile changes nothing; one on today's token counts", async () => {
    const id = await addEnrollment();
    const dead = { status: 410, error: 'Unregistered', deadSince: new Date(Date.now() + 1_000) };
    await pushed(id, { ...dead, token: Buffer.from('token of yesterday') });
    expect(await pushRow(id)).toMatchObject({ isDead: 0, error: null });
    await pushed(id, { ...dead, deadSince: new Date(Date.now() - 3_600_000) });
    expect(await pushRow(id), 'dead before it was set: stale news').toMatchObject({ isDead: 0 });
    await pushed(id, dead);
    expect(await pushRow(id)).toMatchObject({ isDead: 1, repushIn: null, error: 'Unregistered' });
  });
});
