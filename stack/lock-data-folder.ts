import { randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readPidFile, writePidFile } from './pid-file.ts';
import { isAlive } from './process-identity.ts';
import { messageOf, StackError } from './stack-error.ts';

export type FolderLock = { release(): void };

/**
 * Makes this process the only one that runs a stack in the folder; creates the folder (0700). A lock of a process
 * that is no longer alive counts for nothing. Throws StackError `folder-in-use` naming the holder.
 */
export function lockDataFolder(dataDir: string): FolderLock {
  makePrivateFolder(dataDir);
  const lock = join(dataDir, 'lock');
  const mine = join(dataDir, `lock.${randomUUID()}`);
  try {
    writePidFile(mine, process.pid);
    // link() is the exclusive create that also brings the content along: nobody ever reads an empty lock.
    while (!tryLink(mine, lock)) removeIfStale(lock, dataDir);
  } finally {
    rmSync(mine, { force: true });
  }
  return {
    release: () => {
      if (readPidFile(lock)?.pid === process.pid) rmSync(lock, { force: true });
    },
  };
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

function removeIfStale(lock: string, dataDir: string): void {
  const holder = readPidFile(lock);
  if (holder !== undefined && isAlive(holder)) throw inUse(dataDir, holder.pid);
  // Moved aside before it is removed: of two that see the same stale lock, one may already have a fresh one here.
  const aside = `${lock}.${randomUUID()}`;
  try {
    renameSync(lock, aside);
  } catch {
    return; // the other was faster
  }
  const moved = readPidFile(aside);
  if (moved !== undefined && isAlive(moved)) tryLink(aside, lock);
  rmSync(aside, { force: true });
}

const inUse = (dataDir: string, pid: number): StackError =>
  new StackError(
    'folder-in-use',
    `Espalier already runs on ${dataDir} (process ${pid}). Stop that one first (kill ${pid}), ` +
      'or give this one a folder of its own: npm start -- --data-dir .espalier-2 --port 9001',
  );

/** Creates a folder that only this user can read, parents included. */
export function makePrivateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StackError('folder-unusable', `The folder ${path} cannot be made: ${messageOf(error)}`, { cause: error });
  }
}
