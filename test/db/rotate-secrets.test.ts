import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { DatabaseError } from '../../db/errors.ts';
import { rotateSecrets, SEALED_COLUMNS } from '../../db/rotate-secrets.ts';
import { SecretBox } from '../../db/secret-box.ts';
import { TEST_SECRET_KEY, useTestDatabase } from '../harness/test-database.ts';

const test = useTestDatabase();
const CONTEXT = 'push_certs.key_sealed';

describe('secrets at rest', () => {
  const [former, current] = [randomBytes(32), randomBytes(32)];

  it('a sealed value opens with its key and in its own column only, and shows nothing', () => {
    const box = new SecretBox([current]);
    const sealed = box.seal(CONTEXT, Buffer.from('push key'));
    expect(sealed.includes('push key')).toBe(false);
    expect(box.open(CONTEXT, sealed).toString()).toBe('push key');
    expect(() => box.open('commands.body_sealed', sealed)).toThrow(DatabaseError);
    expect(() => new SecretBox([former]).open(CONTEXT, sealed)).toThrow(/no key/);
    for (let i = 0; i < sealed.length; i++) {
      const changed = Buffer.from(sealed);
      changed[i] = (changed[i] ?? 0) ^ 1;
      expect(() => box.open(CONTEXT, changed)).toThrow(DatabaseError);
    }
  });

  it('names every sealed column of the schema', async () => {
    const columns = await test.db.rows<{ name: string }>(
      "SELECT CONCAT(table_name, '.', column_name) AS name FROM information_schema.columns WHERE table_schema = DATABASE() AND column_name LIKE '%\\_sealed' ORDER BY 1",
    );
    expect(columns.map((column) => column.name).sort()).toEqual(
      SEALED_COLUMNS.map(({ table, column }) => `${table}.${column}`).sort(),
    );
  });

  it('rotation seals everything again, page by page, and a second run finds nothing', async () => {
    const old = new SecretBox([TEST_SECRET_KEY]);
    const topics = Array.from({ length: 450 }, (_, i) => `com.apple.mgmt.${String(i).padStart(4, '0')}`);
    for (const topic of topics) {
      await test.db.run(
        'INSERT INTO push_certs (topic, certificate_pem, key_sealed, not_after, updated_at) VALUES (?, ?, ?, NOW(6), NOW(6))',
        [topic, 'pem', old.seal(CONTEXT, Buffer.from(topic))],
      );
    }
    const rotated = { ...test.db, secrets: new SecretBox([current, TEST_SECRET_KEY]) };
    expect(await rotateSecrets(rotated)).toBe(topics.length);
    expect(await rotateSecrets(rotated)).toBe(0);
    const onlyNew = new SecretBox([current]);
    const rows = await test.db.rows<{ topic: string; sealed: Buffer }>(
      'SELECT topic, key_sealed AS sealed FROM push_certs',
    );
    expect(rows.every((row) => onlyNew.open(CONTEXT, row.sealed).toString() === row.topic)).toBe(true);
  });
});
