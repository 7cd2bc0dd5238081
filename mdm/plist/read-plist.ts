import type { Result } from '../result.ts';
import { DEFAULT_PLIST_LIMITS, type PlistLimits } from './limits.ts';
import { readBinaryPlist } from './read-binary-plist.ts';
import { readXmlPlist } from './read-xml-plist.ts';
import type { PlistValue } from './value.ts';

/** The reference server's sniff: seven bytes, whatever the version after them (nanomdm §1.1). */
const BINARY_MAGIC = 'bplist0';

/**
 * Reads a plist from outside, XML or binary. Never throws, whatever the bytes; the error is a ProtocolError with code
 * plist.syntax, plist.encoding (both 400) or plist.limit (413) and, but for size, the byte offset. `limits` overrides
 * single bounds of DEFAULT_PLIST_LIMITS. Long strings are slices of the document and keep it alive: copy what is kept
 * for long.
 */
export function readPlist(bytes: Uint8Array, limits?: Partial<PlistLimits>): Result<PlistValue> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bounds = { ...DEFAULT_PLIST_LIMITS, ...limits };
  const isBinary = buffer.toString('latin1', 0, BINARY_MAGIC.length) === BINARY_MAGIC;
  return isBinary ? readBinaryPlist(buffer, bounds) : readXmlPlist(buffer, bounds);
}
