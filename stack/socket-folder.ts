import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePrivateFolder } from './lock-data-folder.ts';
import { StackError } from './stack-error.ts';

// sun_path holds 108 bytes on Linux and 104 on macOS, the final zero included (unix(7)).
const LONGEST_PATH = 103;
const LONGEST_NAME = 'mysql.sock'.length;

/**
 * Where the Unix sockets of a data folder go, 0700: its own `run` folder, or, when that path is too long for a socket
 * or has characters that do not survive in a URL, a short one of this user under the system's temporary folder.
 */
export function socketFolder(dataDir: string, temporary: string = tmpdir()): string {
  const own = join(dataDir, 'run');
  const fits = (folder: string): boolean => Buffer.byteLength(folder) + 1 + LONGEST_NAME <= LONGEST_PATH;
  if (fits(own) && /^[\w/.+-]+$/.test(own)) return privately(own);
  const name = `espalier-${process.getuid?.() ?? 0}`;
  const base = [temporary, '/tmp'].find((folder) => fits(join(folder, name, '0'.repeat(16)))) ?? '/tmp';
  privately(join(base, name));
  return privately(join(base, name, createHash('sha256').update(dataDir).digest('hex').slice(0, 16)));
}

/** Removes what socketFolder() made outside of the data folder. */
export function removeSocketFolder(dataDir: string, sockets: string): void {
  if (sockets !== join(dataDir, 'run')) rmSync(sockets, { recursive: true, force: true });
}

/** The temporary folder is everybody's: a folder or link that somebody else put there is not trusted. */
function privately(folder: string): string {
  makePrivateFolder(folder);
  const stat = lstatSync(folder);
  if (!stat.isDirectory() || (process.getuid !== undefined && stat.uid !== process.getuid())) {
    throw new StackError('folder-unusable', `${folder} is not a folder of this user; remove it or set TMPDIR.`);
  }
  chmodSync(folder, 0o700);
  return folder;
}
