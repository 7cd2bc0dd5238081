import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Log } from './log.ts';
import type { ProcessIdentity } from './process-identity.ts';
import { findByArguments, identify, isAlive } from './process-identity.ts';
import { stopProcess } from './stop-process.ts';

/** Notes who runs, in one step, so that a reader never sees half a file. Does nothing for a process already gone. */
export function writePidFile(path: string, pid: number): void {
  const identity = identify(pid);
  if (identity === undefined) return;
  writeFileSync(`${path}.new`, `${JSON.stringify(identity)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Undefined when there is no file or it makes no sense (a disk that was full, an edit by hand). */
export function readPidFile(path: string): ProcessIdentity | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('startedAs' in value)) return undefined;
    const { pid, startedAs } = value;
    return typeof pid === 'number' && typeof startedAs === 'string' ? { pid, startedAs } : undefined;
  } catch {
    return undefined;
  }
}

export type Orphan = {
  readonly name: string;
  readonly pidFile: string;
  /** Arguments that no other process has: they name our folder. Catches a process whose pid file is lost. */
  readonly markedBy?: readonly string[];
  readonly stopWithinMs: number;
};

/**
 * Stops what an earlier run that was killed left behind: the process of the pid file, and any that has our folder on
 * its command line. Only to be called by the holder of the data folder's lock. Removes the pid file.
 */
export async function stopOrphan(orphan: Orphan, log: Log): Promise<void> {
  const noted = readPidFile(orphan.pidFile);
  const found = [...(noted === undefined ? [] : [noted]), ...findByArguments(orphan.markedBy ?? [])];
  const alive = new Map(found.filter(isAlive).map((identity) => [identity.pid, identity]));
  for (const identity of alive.values()) {
    log(`Stopping ${orphan.name} (process ${identity.pid}), left behind by an earlier run.`);
    await stopProcess(identity, orphan.stopWithinMs);
  }
  rmSync(orphan.pidFile, { force: true });
}
