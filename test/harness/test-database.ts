import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, inject } from 'vitest';
import { type Db, openDb } from '../../db/db.ts';
import { runDoctor } from '../../db/doctor.ts';
import { migrate } from '../../db/migrate.ts';

export const TEST_SECRET_KEY = Buffer.alloc(32, 7);

export interface TestDatabase {
  readonly db: Db;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  /** A prefix of Redis keys that no other test file uses. */
  readonly prefix: string;
}

/** A migrated database of its own, as a URL. */
export async function createTestDatabase(): Promise<string> {
  const url = new URL(inject('databaseUrl'));
  url.pathname = `/t_${randomBytes(6).toString('hex')}`;
  await migrate(url.href);
  return url.href;
}

/**
 * Gives a test file its own database and Redis prefix; at its end the doctor examines the database and everything is dropped.
 * Call once at the top of the file; the values are there from `beforeAll` on.
 */
export function useTestDatabase(options: { connections?: number } = {}): TestDatabase {
  const prefix = `{t${randomBytes(6).toString('hex')}}`;
  let state: { db: Db; databaseUrl: string } | undefined;
  const get = (): { db: Db; databaseUrl: string } => {
    if (state === undefined) throw new Error('the test database is there from beforeAll on');
    return state;
  };
  beforeAll(async () => {
    const databaseUrl = await createTestDatabase();
    state = {
      databaseUrl,
      db: openDb({ databaseUrl, connections: options.connections ?? 16, secretKeys: [TEST_SECRET_KEY] }),
    };
  });
  afterAll(async () => {
    if (state === undefined) return;
    const { db } = state;
    const findings = await runDoctor(db);
    await db.run(`DROP DATABASE \`${new URL(state.databaseUrl).pathname.slice(1)}\``);
    await db.close();
    expect(findings, 'the doctor found the database unwell').toEqual([]);
  });
  return {
    get db() {
      return get().db;
    },
    get databaseUrl() {
      return get().databaseUrl;
    },
    get redisUrl() {
      return inject('redisUrl');
    },
    prefix,
  };
}
