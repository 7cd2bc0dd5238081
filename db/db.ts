import type { Pool, PoolConnection } from 'mysql2/promise';
import type { JobKind } from '../domain/job-kinds.ts';
import { createPool, type Executor, executorOn } from './connection.ts';
import { DatabaseError, isConnectionLoss } from './errors.ts';
import { SecretBox } from './secret-box.ts';
import { endSilentConnections } from './silent-connections.ts';

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
  /** A statement that hears nothing for so long has lost its connection; 10 s. Infinity for programs that read whole tables. */
  readonly answerWithinMs?: number;
  /** 32 bytes; the first writes, all read. */
  readonly secretKeys: readonly [Buffer, ...Buffer[]];
}

/** Above the lock wait (3 s); a device gives up after 60 s, and should be told 503 before. */
const ANSWER_WITHIN_MS = 10_000;

/** Opens the pool; connections are made when first needed. */
export function openDb(options: DbOptions): Db {
  const pool = createPool(options.databaseUrl, options.connections);
  const { answerWithinMs = ANSWER_WITHIN_MS } = options;
  if (Number.isFinite(answerWithinMs)) endSilentConnections(pool.pool, answerWithinMs);
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
