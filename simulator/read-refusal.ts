import { readPlist } from '../mdm/plist/read-plist.ts';
import type { Reply } from './mdm-client.ts';
import { Fields } from './plist-fields.ts';

/** The `code` of a structured 403, in JSON or as a plist (apple-protocols §1.6); undefined for any other body. */
export function readRefusalCode({ body, contentType }: Reply): string | undefined {
  if (contentType.includes('json')) return codeOfJson(body.toString('utf8'));
  const read = readPlist(body);
  return read.ok ? Fields.of(read.value)?.string('code') : undefined;
}

function codeOfJson(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const hasCode = typeof value === 'object' && value !== null && 'code' in value;
    return hasCode && typeof value.code === 'string' ? value.code : undefined;
  } catch {
    return undefined;
  }
}
