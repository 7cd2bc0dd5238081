import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, StackError } from './stack-error.ts';

export type GeneratedKey = { readonly value: string; readonly file: string; readonly isNew: boolean };

/**
 * The key that encrypts secrets at rest, 32 bytes in hex: read from `<dataDir>/secret-key`, made on first start.
 * Throws StackError `folder-unusable` when it is gone while a database is there, whose secrets only it can open.
 */
export function secretKey(dataDir: string): GeneratedKey {
  const file = join(dataDir, 'secret-key');
  if (!existsSync(file) && existsSync(join(dataDir, 'mysql'))) {
    throw new StackError(
      'folder-unusable',
      `${join(dataDir, 'mysql')} holds a database, but ${file}, with which its secrets were encrypted, is gone. ` +
        'Put that file back or set SECRET_KEY; to start anew, move the whole folder away.',
    );
  }
  const key = readOrMake(file, () => randomBytes(32).toString('hex'));
  if (/^[0-9a-f]{64}$/i.test(key.value)) return key;
  throw new StackError('folder-unusable', `${file} does not hold 64 hex digits: it was cut short or edited.`);
}

/** The administrator's first API key: read from `<dataDir>/api-key`, made on first start. */
export const apiKey = (dataDir: string): GeneratedKey =>
  readOrMake(join(dataDir, 'api-key'), () => randomBytes(24).toString('base64url'));

/** The file appears with its whole content or not at all, and is readable by this user only. */
function readOrMake(file: string, make: () => string): GeneratedKey {
  const isNew = !existsSync(file);
  try {
    if (isNew) {
      writeFileSync(`${file}.new`, `${make()}\n`, { mode: 0o600, flush: true });
      renameSync(`${file}.new`, file);
    }
    const value = readFileSync(file, 'utf8').trim();
    if (value !== '') return { value, file, isNew };
  } catch (error) {
    throw new StackError('folder-unusable', `${file}: ${messageOf(error)}`, { cause: error });
  }
  throw new StackError('folder-unusable', `${file} is empty; put its content back, or remove it to get a new one.`);
}
