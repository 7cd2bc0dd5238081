import { createHash, randomBytes } from 'node:crypto';
import type { Executor } from '../connection.ts';

/** What a key may do: look; act; everything. */
export const ROLES = ['observer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export interface ApiKey {
  readonly id: number;
  readonly name: string;
  readonly role: Role;
}

/** Keys are long and random, so one round of SHA-256 is enough: there is nothing to guess. */
export const hashApiKey = (key: string): Buffer => createHash('sha256').update(key).digest();

/** Makes a key: 32 random bytes. It is shown once; only its hash is kept. */
export async function createApiKey(db: Executor, name: string, role: Role): Promise<string> {
  const key = randomBytes(32).toString('base64url');
  await db.run('INSERT INTO api_keys (name, role, key_hash, created_at) VALUES (?, ?, ?, NOW(6))', [
    name,
    role,
    hashApiKey(key),
  ]);
  return key;
}

export const INITIAL_KEY_NAME = 'API_KEY';

/** Makes the key of the environment the administrator's; a former one stops working. */
export async function storeInitialKey(db: Executor, key: string): Promise<void> {
  await db.run(
    `INSERT INTO api_keys (name, role, key_hash, created_at) VALUES (?, 'admin', ?, NOW(6)) ON DUPLICATE KEY UPDATE key_hash = VALUES(key_hash), revoked_at = NULL`,
    [INITIAL_KEY_NAME, hashApiKey(key)],
  );
}

/** Whose key this is, unless revoked. Looked up by hash, so nothing about the key leaks through time. */
export async function findApiKey(db: Executor, key: string): Promise<ApiKey | undefined> {
  const [row] = await db.rows<ApiKey>('SELECT id, name, role FROM api_keys WHERE key_hash = ? AND revoked_at IS NULL', [
    hashApiKey(key),
  ]);
  return row;
}

/** All keys, without what they are. */
export const listApiKeys = (
  db: Executor,
): Promise<{ name: string; role: Role; createdAt: Date; revokedAt: Date | null }[]> =>
  db.rows('SELECT name, role, created_at AS createdAt, revoked_at AS revokedAt FROM api_keys ORDER BY id');

/** @returns whether there was such a key in force */
export const revokeApiKey = async (db: Executor, name: string): Promise<boolean> =>
  (await db.run('UPDATE api_keys SET revoked_at = NOW(6) WHERE name = ? AND revoked_at IS NULL', [name]))
    .affectedRows === 1;
