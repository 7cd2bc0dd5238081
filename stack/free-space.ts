import { statfs } from 'node:fs/promises';
import { StackError } from './stack-error.ts';

/** Bytes that this user can still write below a folder. */
export type FreeBytes = (folder: string) => Promise<number>;

export const freeBytesOf: FreeBytes = async (folder) => {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
};

const MEGABYTE = 1024 * 1024;
// A fresh MariaDB or MySQL folder with its redo log takes 110 to 200 MB.
const LEAST_BYTES = 200 * MEGABYTE;

/** Throws StackError `disk-full` where the database would soon stop in the middle of a write. */
export async function checkFreeSpace(folder: string, freeBytes: FreeBytes): Promise<void> {
  const free = await freeBytes(folder);
  if (free < LEAST_BYTES) throw diskFull(folder, `only ${Math.floor(free / MEGABYTE)} MB are free`);
}

export const diskFull = (folder: string, why: string): StackError =>
  new StackError(
    'disk-full',
    `The disk that holds ${folder} is full: ${why}, and at least ${LEAST_BYTES / MEGABYTE} MB are needed. ` +
      'Free some space, or use another folder: npm start -- --data-dir /path/with/space',
  );
