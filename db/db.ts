import type { Pool, PoolConnection } from 'mysql2/promise';
import type { JobKind } from '../domain/job-kinds.ts';
import { createPool, type Executor, executorOn } from './connection.ts';
import { DatabaseError, isConnectionLoss } from './errors.ts';
import { SecretBox } from './secret-box.ts';

/** The database of one process: a pool, the key for secrets, and where hints go after a commit. */
export interface Db extends Executor {
  readonly pool: Pool;
  readonly secrets: SecretBox;
  readonly counters: { contention: number };
  connect(): Promise<PoolConnection>;
  /** Called after a commit with the keys it owed; replaced by `queue/` at boot. Must not throw. */
  hint(kind: JobKind, keys: readonly string[]): void;
  close(): Promise<void>;
}

export interface DbOptions {
  readonly databaseUrl: string;
  readonly connections: number;
  /** 32 bytes; the first writes, all read. */
  readonly secretKeys: readonly [Buffer, ...Buffer[]];
}

/** Opens the pool; connections are made when first needed. */
export function openDb(options: DbOptions): Db {
  const pool = createPool(options.databaseUrl, options.connections);
  return {
    pool,
    ...executorOn(pool),
    secrets: new SecretBox(options.secretKeys),
    counters: { contention: 0 },
    async connect() {
      try {
        return await pool.getConnection();
      } catch (error) {
        if (isConnectionLoss(error))
          throw new DatabaseError('database.unavailable', 'no connection to MySQL', { cause: error });
        throw error;
      }
    },
    hint: () => {},
    close: () => pool.end(),
  };
}
