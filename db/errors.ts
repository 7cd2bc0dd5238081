/** What the database layer throws on purpose: code → meaning. Drivers' own errors pass through. */
export const DATABASE_ERRORS = {
  'database.unavailable': 'MySQL cannot be reached; nothing was recorded',
  'database.unsealable': 'a sealed value cannot be opened with the keys given',
  'database.migration': 'the schema cannot be brought up to date',
} as const;

export type DatabaseErrorCode = keyof typeof DATABASE_ERRORS;

export class DatabaseError extends Error {
  readonly code: DatabaseErrorCode;

  constructor(code: DatabaseErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DatabaseError';
    this.code = code;
  }
}

const errno = (error: unknown): number | undefined =>
  typeof error === 'object' && error !== null && 'errno' in error && typeof error.errno === 'number'
    ? error.errno
    : undefined;

const code = (error: unknown): string | undefined =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;

/** 1213 deadlock, 1205 lock wait timeout: the whole transaction may be run again. */
export const isContention = (error: unknown): boolean => errno(error) === 1213 || errno(error) === 1205;

/** 1062: a unique key has the value already. */
export const isDuplicate = (error: unknown): boolean => errno(error) === 1062;

const CONNECTION_CODES = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ER_SERVER_SHUTDOWN',
  'ER_CON_COUNT_ERROR',
  'POOL_CLOSED',
  'POOL_TIMEOUT',
]);

/**
 * The server answers but cannot write now: 1290 and 1836 read-only (a primary that was demoted), 1792 read-only transaction, 1021 and 1114 disk full. As good as
 * away: the sender tries again later.
 */
const UNWRITABLE = new Set([1021, 1114, 1290, 1792, 1836]);

/** The server is away or cannot write, or the connection broke: whether a transaction under way was committed is unknown. */
export const isConnectionLoss = (error: unknown): boolean =>
  UNWRITABLE.has(errno(error) ?? 0) ||
  (error instanceof DatabaseError && error.code === 'database.unavailable') ||
  CONNECTION_CODES.has(code(error) ?? '') ||
  (typeof error === 'object' && error !== null && 'fatal' in error && error.fatal === true);
