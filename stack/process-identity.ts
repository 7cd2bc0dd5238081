import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/**
 * One process and no other: numbers are reused, so the moment of its start (and of the machine's) belongs to it.
 */
export type ProcessIdentity = { readonly pid: number; readonly startedAs: string };

const hasProc = process.platform === 'linux';

/** Who has this number now; undefined when nobody is alive under it (a zombie is not). */
export function identify(pid: number): ProcessIdentity | undefined {
  const startedAs = hasProc ? startFromProc(pid) : startFromPs(pid);
  return startedAs === undefined ? undefined : { pid, startedAs };
}

/** Whether exactly this process is still alive. */
export const isAlive = (identity: ProcessIdentity): boolean => identify(identity.pid)?.startedAs === identity.startedAs;

/**
 * Processes whose command line has these arguments side by side, such as `--datadir=/x`. A server may have been
 * started through a wrapper or a dynamic loader, so what stands before them does not matter.
 */
export function findByArguments(sought: readonly string[]): readonly ProcessIdentity[] {
  // Nothing sought must find nobody: what is found gets stopped.
  if (sought.length === 0 || sought.includes('')) return [];
  const pids = hasProc ? pidsFromProc(sought) : pidsFromPs(sought);
  return pids.filter((pid) => pid !== process.pid).flatMap((pid) => identify(pid) ?? []);
}

// proc(5): field 3 is the state, field 22 the start in clock ticks since boot; the name in field 2 may hold anything.
function startFromProc(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, start] = [fields[0], fields[19]];
    if (state === undefined || start === undefined || state === 'Z' || state === 'X') return undefined;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()}/${start}`;
  } catch {
    return undefined; // gone between two reads, or never there
  }
}

function startFromPs(pid: number): string | undefined {
  const line = spawnSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim();
  const [state = '', ...start] = line.split(/\s+/);
  return start.length === 0 || state.startsWith('Z') ? undefined : start.join(' ');
}

function pidsFromProc(sought: readonly string[]): readonly number[] {
  const needle = `\0${sought.join('\0')}\0`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(needle);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function pidsFromPs(sought: readonly string[]): readonly number[] {
  const needle = ` ${sought.join(' ')} `;
  return spawnSync('ps', ['-axww', '-o', 'pid=,command='], { encoding: 'utf8', maxBuffer: 64 << 20 })
    .stdout.split('\n')
    .filter((line) => `${line} `.includes(needle))
    .map((line) => Number.parseInt(line, 10));
}
