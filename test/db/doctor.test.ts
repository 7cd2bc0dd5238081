import { beforeEach, describe, expect, it } from 'vitest';
import { INVARIANT_COUNT, runDoctor } from '../../db/doctor.ts';
import { useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const TABLES = ['outbox', 'command_results', 'command_queue', 'commands', 'push_tokens', 'enrollments', 'hosts'];

/** A host with a device channel that was pushed to, a command in its queue, one ended and taken in, one that waits to be. */
const HEALTHY = [
  "INSERT INTO hosts (id, host_key) VALUES (1, 'host-1')",
  `INSERT INTO enrollments (id, host_id, enrollment_key, enrollment_id, is_device, type, enabled, token_update_tally)
   VALUES (11, 1, 'e-11', 'E-11', 1, 'Device', 1, 2), (12, 1, 'e-12', 'E-12', 0, 'User', 0, 0)`,
  `INSERT INTO push_tokens (enrollment_id, topic, push_magic, token, updated_at, last_push_at, repush_at)
   VALUES (11, 'topic', 'magic', 'token', NOW(6), NOW(6), NOW(6) + INTERVAL 1 HOUR)`,
  `INSERT INTO commands (id, command_uuid, request_type, priority, body_sealed)
   VALUES (21, 'c-21', 'DeviceInformation', 50, 'x'), (22, 'c-22', 'ProfileList', 0, 'x'), (23, 'c-23', 'ProfileList', 0, 'x')`,
  'INSERT INTO command_queue (enrollment_id, urgency, command_id, is_not_now) VALUES (11, -50, 21, 1)',
  `INSERT INTO command_results (enrollment_id, command_id, status, received_at, ended_at, not_now_at, process_host_id)
   VALUES (11, 21, 'NotNow', NOW(6), NULL, NOW(6), NULL), (11, 22, 'Acknowledged', NOW(6), NOW(6), NULL, NULL),
          (11, 23, 'Acknowledged', NOW(6), NOW(6), NULL, 1)`,
  "INSERT INTO outbox (kind, `key`, stamp, due_at, look_at) VALUES ('report.process', '1', 1, NOW(6), NOW(6))",
];

/** What breaks each invariant, and no other. */
const BREAKS: Record<string, string> = {
  'report-owed': "DELETE FROM outbox WHERE kind = 'report.process'",
  'ended-not-queued': 'INSERT INTO command_queue (enrollment_id, urgency, command_id) VALUES (11, 0, 22)',
  'queue-orphan': 'INSERT INTO command_queue (enrollment_id, urgency, command_id) VALUES (11, 0, 99)',
  'result-orphan': 'INSERT INTO command_results (enrollment_id, command_id, ended_at) VALUES (99, 22, NOW(6))',
  'queue-urgency': 'UPDATE command_queue SET urgency = 0',
  'not-now-agrees': 'UPDATE command_queue SET is_not_now = 0',
  'parent-device': 'UPDATE enrollments SET is_device = 0 WHERE id = 11',
  'enabled-has-token': 'DELETE FROM push_tokens',
  tally: 'UPDATE enrollments SET token_update_tally = 0',
  'outbox-look': 'UPDATE outbox SET look_at = NULL',
};

beforeEach(async () => {
  for (const table of TABLES) await test.db.run(`DELETE FROM ${table}`);
  for (const sql of HEALTHY) await test.db.run(sql);
  return async () => {
    for (const table of TABLES) await test.db.run(`DELETE FROM ${table}`);
  };
});

describe('the doctor', () => {
  it('finds a healthy database well', async () => {
    expect(await runDoctor(test.db)).toEqual([]);
  });

  it.each(Object.entries(BREAKS))('finds a broken %s, and nothing else', async (name, sql) => {
    await test.db.run(sql);
    const findings = await runDoctor(test.db);
    expect(findings.map((finding) => finding.invariant)).toEqual([name]);
    expect(findings[0]?.examples).toHaveLength(findings[0]?.count ?? -1);
  });

  it('finds failed rows that the relay would still look at', async () => {
    await test.db.run('UPDATE outbox SET failed_at = NOW(6)');
    expect((await runDoctor(test.db)).map((finding) => finding.invariant)).toEqual(['outbox-look']);
  });

  it('has a case here for each invariant', () => {
    expect(Object.keys(BREAKS)).toHaveLength(INVARIANT_COUNT);
  });

  it('shows five examples of many', async () => {
    await test.db.run(
      `INSERT INTO outbox (kind, \`key\`, stamp, due_at) VALUES ${Array.from({ length: 9 }, (_, index) => `('push.send', '${index}', 1, NOW(6))`).join()}`,
    );
    expect(await runDoctor(test.db)).toMatchObject([{ count: 9, examples: { length: 5 } }]);
  });
});
