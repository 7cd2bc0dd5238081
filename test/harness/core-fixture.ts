import { randomBytes } from 'node:crypto';
import type { Log } from '../../config/log.ts';
import type { Executor } from '../../db/connection.ts';
import type { Db } from '../../db/db.ts';
import { type Transaction, transaction } from '../../db/transaction.ts';
import type { JobKind } from '../../domain/job-kinds.ts';
import { type DatabaseJob, defineJob, type Job } from '../../queue/define-job.ts';
import type { RunJobOptions } from '../../workers/run-job.ts';
import { waitFor } from './wait-for.ts';

export const HOST_KIND = 'report.process';

/** `ledger` has no unique key, so that a doubled effect shows; a chore is something to do for a host. */
export async function createCoreTables(db: Executor): Promise<void> {
  await db.run(
    'CREATE TABLE IF NOT EXISTS ledger (id BIGINT AUTO_INCREMENT PRIMARY KEY, kind VARCHAR(32) NOT NULL, item VARCHAR(96) NOT NULL)',
  );
  await db.run(
    'CREATE TABLE IF NOT EXISTS chores (id BIGINT AUTO_INCREMENT PRIMARY KEY, host_id INT UNSIGNED NOT NULL, KEY host (host_id))',
  );
}

export async function clearCore(db: Executor): Promise<void> {
  for (const table of ['outbox', 'ledger', 'chores', 'leases', 'hosts']) await db.run(`DELETE FROM ${table}`);
}

/** @returns the ids of new hosts, as outbox keys */
export async function addHosts(db: Executor, count: number): Promise<string[]> {
  const hostKeys = Array.from({ length: count }, () => [randomBytes(12).toString('hex')]);
  await db.run('INSERT INTO hosts (host_key) VALUES ?', [hostKeys]);
  const rows = await db.rows<{ id: number }>('SELECT id FROM hosts WHERE host_key IN (?) ORDER BY id', [
    hostKeys.flat(),
  ]);
  return rows.map((row) => String(row.id));
}

export async function lockHosts(t: Executor, keys: readonly string[], wait: boolean): Promise<string[]> {
  const rows = await t.rows<{ id: number; created_at: Date }>(
    `SELECT id, created_at FROM hosts FORCE INDEX (PRIMARY) WHERE id IN (?) ORDER BY id FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`,
    [keys.map(Number)],
  );
  return rows.map((row) => String(row.id));
}

export async function writeLedger(t: Executor, kind: JobKind, items: readonly string[]): Promise<void> {
  if (items.length === 0) return;
  await t.run('INSERT INTO ledger (kind, item) VALUES ?', [items.map((item) => [kind, item])]);
}

/** How often each item has taken effect. */
export async function readLedger(db: Executor): Promise<Record<string, number>> {
  const times: Record<string, number> = {};
  for (const { item } of await db.rows<{ item: string }>('SELECT item FROM ledger ORDER BY id'))
    times[item] = (times[item] ?? 0) + 1;
  return times;
}

export const once = (items: Iterable<string>): Record<string, number> =>
  Object.fromEntries([...items].map((item) => [item, 1]));

/** A job of an existing kind whose effect is one ledger row per key and run. */
export function hostJob(overrides: Partial<DatabaseJob> = {}): DatabaseJob {
  return defineJob<DatabaseJob>({
    kind: HOST_KIND,
    effect: 'database',
    lock: lockHosts,
    run: async (t, keys) => void (await writeLedger(t, HOST_KIND, keys)),
    ...overrides,
  });
}

/** Gives a host something to do, and owes it, in one commit. */
export async function addChores(t: Transaction, hosts: readonly string[], options?: { bulk?: boolean }): Promise<void> {
  await t.run('INSERT INTO chores (host_id) VALUES ?', [hosts.map((host) => [Number(host)])]);
  t.owe(HOST_KIND, hosts, options);
}

/** Does all chores of the hosts: reads them without a lock of their own and writes each to the ledger, so that two runs of one host would double them. */
export async function doChores(t: Transaction, hosts: readonly string[]): Promise<undefined> {
  const chores = await t.rows<{ id: number }>('SELECT id FROM chores WHERE host_id IN (?) ORDER BY id', [
    hosts.map(Number),
  ]);
  if (chores.length === 0) return;
  await writeLedger(
    t,
    HOST_KIND,
    chores.map((chore) => String(chore.id)),
  );
  await t.run('DELETE FROM chores WHERE id IN (?)', [chores.map((chore) => chore.id)]);
}

export const owe = (
  db: Db,
  kind: JobKind,
  keys: readonly string[],
  options?: { inMs?: number; bulk?: boolean },
): Promise<void> => transaction(db, async (t) => void t.owe(kind, keys, options));

/** Lets the relay see these rows in its next round, and workers now: what waiting would do. */
export const letTimePass = (db: Executor, kind: JobKind): Promise<unknown> =>
  db.run(
    'UPDATE outbox SET due_at = NOW(6) - INTERVAL 1 SECOND, look_at = IF(failed_at IS NULL, NOW(6) - INTERVAL 1 SECOND, NULL) WHERE kind = ?',
    [kind],
  );

export const countOwed = async (db: Executor): Promise<number> =>
  (await db.rows<{ count: number }>('SELECT COUNT(*) AS count FROM outbox'))[0]?.count ?? -1;

/** A point where an actor stands until the test lets it pass. */
export interface Gate {
  /** Called by the actor. */
  readonly hold: () => Promise<void>;
  /** Resolves when the actor is there. */
  readonly reached: Promise<void>;
  readonly open: () => void;
}

export function createGate(): Gate {
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  return {
    hold: () => {
      reached.resolve();
      return opened.promise;
    },
    reached: reached.promise,
    open: () => opened.resolve(),
  };
}

/**
 * Waits until a statement of this database that contains `fragment` waits for a row lock. From the status text: information_schema.innodb_trx shows a
 * copy that is not renewed while somebody keeps reading it.
 */
export const waitUntilBlocked = (db: Executor, fragment: string): Promise<unknown> =>
  waitFor(
    `a statement with ${fragment} that waits for a lock`,
    async () => {
      const [own] = await db.rows<{ name: string }>('SELECT DATABASE() AS name');
      const [status] = await db.rows<{ Status: string }>('SHOW ENGINE INNODB STATUS');
      const transactions = status?.Status.split('---TRANSACTION') ?? [];
      return transactions.some((text) =>
        ['LOCK WAIT', `\`${own?.name}\``, fragment].every((part) => text.includes(part)),
      );
    },
    2_500,
  );

export interface CollectedLog extends Log {
  readonly events: string[];
}

/** Keeps the names of the events. */
export function collectLog(): CollectedLog {
  const events: string[] = [];
  const keep = (event: string): void => void events.push(event);
  const log: CollectedLog = { events, debug: keep, info: keep, warn: keep, error: keep, with: () => log };
  return log;
}

export const noMetrics: RunJobOptions['metrics'] = { observeRun: () => {} };

/** A record of jobs for `startWorkers`; kinds that a test does not use have a job that must not run. */
export function jobsWith(...jobs: readonly Job[]): Record<JobKind, Job> {
  const unused = (kind: JobKind): Job =>
    jobs.find((job) => job.kind === kind) ??
    hostJob({
      kind,
      run: async () => {
        throw new Error(`no job of ${kind} in this test`);
      },
    });
  return {
    'maintenance.repush': unused('maintenance.repush'),
    'push.send': unused('push.send'),
    'report.process': unused('report.process'),
  };
}
