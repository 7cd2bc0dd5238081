import { readFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import type { Db } from '../db/db.ts';

/** Clock ticks per second in /proc: 100 on every Linux of today. */
const TICKS = 100;
const MB = 1024 * 1024;

/** Counters of the database server that say what a request costs it. MariaDB dropped the log's own flush counter. */
const COUNTERS = ['Questions', 'Com_commit', 'Connections', 'Innodb_os_log_fsyncs', 'Innodb_data_fsyncs'];

export type Pids = Readonly<Record<string, number>>;

export interface Snapshot {
  /** CPU seconds of each process so far. */
  readonly cpu: Readonly<Record<string, number>>;
  /** CPU seconds of the machine's processes all together. */
  readonly busy: number;
  readonly at: number;
  readonly counters: Readonly<Record<string, number>>;
}

export interface Cost {
  /** CPU seconds by process. */
  readonly cpu: Readonly<Record<string, number>>;
  /** Cores that others used meanwhile: how disturbed the measurement was. */
  readonly others: number;
  readonly statements: number;
  readonly commits: number;
  readonly flushes: number;
  readonly connections: number;
}

/** The state of all counters now. `db` is a look at the server under test, not its own pool. */
export async function takeSnapshot(db: Db, pids: Pids): Promise<Snapshot> {
  const rows = await db.rows<{ name: string; value: string }>(
    `SHOW GLOBAL STATUS WHERE Variable_name IN (${COUNTERS.map((name) => `'${name}'`).join()})`,
  );
  return {
    cpu: Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuSeconds(pid)])),
    busy: busySeconds(),
    at: performance.now() / 1_000,
    counters: Object.fromEntries(rows.map((row) => Object.values(row)).map(([name, value]) => [name, Number(value)])),
  };
}

export function costBetween(before: Snapshot, after: Snapshot): Cost {
  const cpu = Object.fromEntries(
    Object.entries(after.cpu).map(([name, seconds]) => [name, seconds - (before.cpu[name] ?? 0)]),
  );
  const ours = Object.values(cpu).reduce((sum, seconds) => sum + seconds, 0);
  const of = (name: string): number => (after.counters[name] ?? 0) - (before.counters[name] ?? 0);
  return {
    cpu,
    others: Math.max(0, (after.busy - before.busy - ours) / (after.at - before.at)),
    statements: of('Questions') - 1,
    commits: of('Com_commit'),
    flushes: 'Innodb_os_log_fsyncs' in after.counters ? of('Innodb_os_log_fsyncs') : of('Innodb_data_fsyncs'),
    connections: of('Connections'),
  };
}

export function addCosts(a: Cost, b: Cost): Cost {
  return {
    cpu: Object.fromEntries(Object.entries(a.cpu).map(([name, seconds]) => [name, seconds + (b.cpu[name] ?? 0)])),
    others: Math.max(a.others, b.others),
    statements: a.statements + b.statements,
    commits: a.commits + b.commits,
    flushes: a.flushes + b.flushes,
    connections: a.connections + b.connections,
  };
}

function cpuSeconds(pid: number): number {
  // The name of the program, in parentheses, may hold blanks; user and system time are fields 14 and 15.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

function busySeconds(): number {
  const [, user, nice, system, , , irq, softirq] = (readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '').split(
    / +/,
  );
  return [user, nice, system, irq, softirq].reduce((sum, ticks) => sum + Number(ticks) / TICKS, 0);
}

/** Resident memory in MB. */
export function residentMb(pid: number): number {
  const kb = /VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round((Number(kb ?? 0) * 1024) / MB);
}

/** One line on the machine and versions, without which figures mean nothing. */
export async function describeMachine(db: Db): Promise<string> {
  const [row] = await db.rows<{ version: string }>('SELECT VERSION() AS version');
  const [cpu] = cpus();
  const memory = `${Math.round(totalmem() / MB / 1024)} GB`;
  return `${cpus().length} × ${cpu?.model.trim() ?? arch()}, ${memory}, Linux ${release()}, Node ${process.versions.node}, database ${row?.version}`;
}
