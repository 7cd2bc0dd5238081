import { Socket } from 'node:net';
import mysql, { type Pool, type PoolConnection, type PoolOptions } from 'mysql2/promise';

export type Row = Record<string, unknown>;
/** Values for `?` placeholders; arrays expand for IN (?) and VALUES ?. */
export type Values = readonly unknown[];

/** Something that runs one statement: the pool (autocommit) or a transaction. */
export interface Executor {
  /** Rows of a SELECT. The caller names the shape, as the statement beside it shows. */
  rows<T extends object = Row>(sql: string, values?: Values): Promise<T[]>;
  /** Runs a writing statement; how many rows it touched as the driver counts them. */
  run(sql: string, values?: Values): Promise<{ affectedRows: number; insertId: number }>;
}

/** Seconds that a statement waits for a row lock before 1205. */
const LOCK_WAIT_SECONDS = 3;

/** Driver options for a `mysql://` URL; `socketPath` may be given as a query parameter. */
export function connectionOptions(databaseUrl: string): PoolOptions {
  const url = new URL(databaseUrl);
  const socketPath = url.searchParams.get('socketPath');
  const options: PoolOptions = {
    user: decodeURIComponent(url.username) || 'root',
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)),
    charset: 'utf8mb4',
    timezone: 'Z',
    supportBigNumbers: true,
    connectTimeout: 5_000,
    enableKeepAlive: true,
  };
  if (socketPath !== null) options.socketPath = socketPath;
  else Object.assign(options, { host: url.hostname, port: Number(url.port || 3306) });
  if (url.searchParams.get('ssl') === 'true') options.ssl = {};
  return options;
}

/** A pool whose sessions run READ COMMITTED, in UTC, with a short lock wait. */
export function createPool(databaseUrl: string, connectionLimit: number): Pool {
  const pool = mysql.createPool({
    ...connectionOptions(databaseUrl),
    connectionLimit,
    maxIdle: connectionLimit,
    queueLimit: 10_000,
    idleTimeout: 600_000,
    // For db/pipeline.ts. Values never become SQL: they are placeholders everywhere.
    multipleStatements: true,
    // A stack trace for every statement, in case it fails, that shows nothing but the pipeline.
    trace: false,
  });
  pool.pool.on('connection', (connection) => {
    // Queued in front of whatever the connection was opened for. A session that cannot be set up so must not be used: escaping relies on sql_mode.
    const endUnlessSet = (error: Error | null): void => {
      const stream: unknown = Reflect.get(connection, 'stream');
      if (error !== null && stream instanceof Socket) stream.destroy(error);
    };
    connection.query(
      `SET time_zone = '+00:00', innodb_lock_wait_timeout = ${LOCK_WAIT_SECONDS}, ` +
        "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'",
      endUnlessSet,
    );
    connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED', endUnlessSet);
  });
  return pool;
}

/** Statements on any connection of the pool, each committed by itself. Text protocol: IN lists of changing length would fill the prepared-statement cache. */
export function executorOn(target: Pool | PoolConnection): Executor {
  return {
    async rows<T extends object = Row>(sql: string, values: Values = []): Promise<T[]> {
      const [rows] = await target.query(sql, [...values]);
      return rows as T[];
    },
    async run(sql, values = []) {
      const [result] = await target.query(sql, [...values]);
      const { affectedRows, insertId } = result as mysql.ResultSetHeader;
      return { affectedRows, insertId };
    },
  };
}
