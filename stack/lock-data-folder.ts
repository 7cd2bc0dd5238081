import { randomUUID } from 'node:crypto';
import { constants, copyFileSync, linkSync, mkdirSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readPidFile, writePidFile } from './pid-file.ts';
import { isAlive } from './process-identity.ts';
import { messageOf, StackError } from './stack-error.ts';

export type FolderLock = { release(): void };

/**
 * Creates the folder (0700) when it is not there, and names it in the one way that command lines and lock files of
 * all runs share: absolute, without links. Throws StackError `folder-unusable`.
 */
export function openDataFolder(path: string): string {
  makePrivateFolder(resolve(path));
  return realpathSync(path);
}

/**
 * Makes this process the only one that runs a stack in an existing folder. A lock of a process that is no longer alive
 * counts for nothing. Throws StackError `folder-in-use` naming the holder, `folder-unusable` when nothing can be
 * written there.
 */
export function lockDataFolder(dataDir: string): FolderLock {
  const lock = join(dataDir, 'lock');
  const mine = join(dataDir, `lock.${randomUUID()}`);
  try {
    writePidFile(mine, process.pid);
    while (!createFrom(mine, lock)) removeIfStale(lock, dataDir);
  } catch (error) {
    if (error instanceof StackError) throw error;
    throw new StackError('folder-unusable', `${dataDir} cannot be used: ${messageOf(error)}`, { cause: error });
  } finally {
    rmSync(mine, { force: true });
  }
  return {
    release: () => {
      if (readPidFile(lock)?.pid === process.pid) rmSync(lock, { force: true });
    },
  };
}

/** False when it is there already. link() brings the content along, so that nobody ever reads an empty lock. */
function createFrom(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
  }
  try {
    copyFileSync(from, to, constants.COPYFILE_EXCL); // some shared folders of virtual machines know no links
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined);

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
  if (moved !== undefined && isAlive(moved)) createFrom(aside, lock);
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
