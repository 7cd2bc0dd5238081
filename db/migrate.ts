import { fileURLToPath } from 'node:url';
import knexPackage, { type Knex } from 'knex';
import mysql from 'mysql2/promise';
import { connectionOptions } from './connection.ts';
import { DatabaseError } from './errors.ts';

const DIRECTORY = fileURLToPath(new URL('migrations', import.meta.url));
/** Holds other processes back while one migrates; freed with its connection, so a killed migration blocks nobody. */
const LOCK_NAME = 'espalier.migrate';
const LOCK_SECONDS = 120;

/** Makes the database if it is missing (and the user may), and brings its schema up to date. Safe to run from many processes at once. */
export async function migrate(databaseUrl: string): Promise<string[]> {
  const options = connectionOptions(databaseUrl);
  const { database, ...server } = options;
  const connection = await mysql.createConnection(server);
  try {
    await connection
      .query('CREATE DATABASE IF NOT EXISTS ?? CHARACTER SET utf8mb4 COLLATE utf8mb4_bin', [database])
      .catch((error: unknown) => {
        // A user without the right to create it may still own an existing one; the next statement tells.
        if (!(error instanceof Error && 'errno' in error && error.errno === 1044)) throw error;
      });
    await connection.query('USE ??', [database]);
    const [[lock]] = await connection.query<mysql.RowDataPacket[]>('SELECT GET_LOCK(?, ?) AS held', [
      `${LOCK_NAME}.${database}`.slice(0, 64),
      LOCK_SECONDS,
    ]);
    if (lock?.held !== 1)
      throw new DatabaseError('database.migration', 'another process has been migrating for two minutes');
    return await runMigrations(databaseUrl);
  } finally {
    await connection.end();
  }
}

async function runMigrations(databaseUrl: string): Promise<string[]> {
  const knex: Knex = knexPackage.knex({
    client: 'mysql2',
    connection: { ...connectionOptions(databaseUrl) } as unknown as Knex.MySql2ConnectionConfig,
    pool: { min: 0, max: 2 },
  });
  const migrations = { directory: DIRECTORY, loadExtensions: ['.ts'], tableName: 'migrations' };
  try {
    // Ours is the lock that counts (GET_LOCK above): knex's own row survives a killed process, so it is freed first.
    await knex.migrate.forceFreeMigrationsLock(migrations);
    const [, names] = await knex.migrate.latest(migrations);
    return names;
  } catch (cause) {
    throw new DatabaseError('database.migration', cause instanceof Error ? cause.message : String(cause), { cause });
  } finally {
    await knex.destroy();
  }
}
