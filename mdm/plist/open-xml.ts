import { isAscii, isUtf8 } from 'node:buffer';
import { ProtocolError } from '../errors.ts';
import { XmlCursor } from './xml-cursor.ts';

const DECLARATION =
  /^[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(["'])([^"']*)\1(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(["'])([^"']*)\3)?(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(["'])(?:yes|no)\5)?[ \t\r\n]*$/;
const MAX_DECLARATION_LENGTH = 256;

/** ASCII is a part of UTF-8; every other encoding would need a decoder, and the reference server refuses it (nanomdm §1.1). */
const ENCODINGS: ReadonlySet<string> = new Set(['utf-8', 'us-ascii']);

/** Byte offset of the first byte that is not UTF-8, in a document known to have one. */
function firstInvalidByte(bytes: Buffer): number {
  const text = bytes.toString('utf8');
  let offset = 0;
  let from = 0;
  for (let at = text.indexOf('\ufffd'); at !== -1; at = text.indexOf('\ufffd', from)) {
    offset += Buffer.byteLength(text.slice(from, at));
    // The replacement character may also stand there in its own right.
    if (bytes[offset] !== 0xef || bytes[offset + 1] !== 0xbf || bytes[offset + 2] !== 0xbd) return offset;
    offset += 3;
    from = at + 1;
  }
  return offset;
}

function decodeUtf8(bytes: Buffer): string {
  // Latin-1 makes a one-byte string without looking at the bytes again; for ASCII it is the same text.
  if (isAscii(bytes)) return bytes.toString('latin1');
  if (isUtf8(bytes)) return bytes.toString('utf8');
  throw new ProtocolError('plist.encoding', 'not UTF-8', firstInvalidByte(bytes));
}

const RETURN = 0x0d;
const LINE_FEED = 0x0a;

/** Whether the byte is the return of a return and line feed pair: the one byte that `withLineFeeds` leaves out. */
const isLeftOut = (bytes: Buffer, at: number): boolean => bytes[at] === RETURN && bytes[at + 1] === LINE_FEED;

/** A copy in which every line ending is one line feed, as XML 1.0 §2.11 wants it read. (`&#13;` is still to come.) */
function withLineFeeds(bytes: Buffer): Buffer {
  const copy = Buffer.alloc(bytes.length);
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    if (isLeftOut(bytes, at)) continue;
    const byte = bytes[at] ?? 0;
    copy[length] = byte === RETURN ? LINE_FEED : byte;
    length += 1;
  }
  return copy.subarray(0, length);
}

/** Where in `bytes` the byte at `offset` of `withLineFeeds(bytes)` comes from. */
function offsetBefore(bytes: Buffer, offset: number): number {
  let at = 0;
  for (let left = offset; left > 0 && at < bytes.length; at += 1) {
    if (!isLeftOut(bytes, at)) left -= 1;
  }
  return at;
}

function cursorOver(bytes: Buffer): XmlCursor {
  const hasReturns = bytes.includes(RETURN);
  const text = decodeUtf8(hasReturns ? withLineFeeds(bytes) : bytes);
  const byteOffset = (at: number): number => Buffer.byteLength(text.slice(0, at));
  const toByteOffset = hasReturns ? (at: number) => offsetBefore(bytes, byteOffset(at)) : byteOffset;
  return new XmlCursor(text, text.charCodeAt(0) === 0xfeff ? 1 : 0, toByteOffset);
}

/** At `<?xml`. */
function takeDeclaration(cursor: XmlCursor): void {
  const start = cursor.pos;
  const end = cursor.text.slice(start, start + MAX_DECLARATION_LENGTH).indexOf('?>');
  const fields = end === -1 ? null : DECLARATION.exec(cursor.text.slice(start + 5, start + end));
  if (fields === null) cursor.refuse('plist.syntax', 'malformed XML declaration');
  if (fields[2] !== '1.0') cursor.refuse('plist.syntax', 'not XML 1.0');
  const encoding = fields[4];
  if (encoding !== undefined && !ENCODINGS.has(encoding.toLowerCase())) {
    cursor.refuse('plist.encoding', 'declared encoding is not UTF-8');
  }
  cursor.pos = start + end + 2;
}

/** At `<!DOCTYPE`. An internal subset could declare entities, and no plist needs one. */
function skipDoctype(cursor: XmlCursor): void {
  const end = /["'[>]/g;
  end.lastIndex = cursor.pos;
  for (let found = end.exec(cursor.text); found !== null; found = end.exec(cursor.text)) {
    if (found[0] === '>') {
      cursor.pos = found.index + 1;
      return;
    }
    if (found[0] === '[') cursor.refuse('plist.syntax', 'internal DTD subset', found.index);
    const close = cursor.text.indexOf(found[0], found.index + 1);
    if (close === -1) break;
    end.lastIndex = close + 1;
  }
  cursor.refuse('plist.syntax', 'DOCTYPE is not closed');
}

/**
 * Decodes an XML document and stops at its root element. As on the reference server (nanomdm §10 #86) a byte order mark,
 * white space before everything, and a missing XML declaration or DOCTYPE do no harm.
 * @throws ProtocolError plist.encoding, plist.syntax
 */
export function openXml(bytes: Buffer): XmlCursor {
  const cursor = cursorOver(bytes);
  const { text } = cursor;
  cursor.skipSpace();
  if (/^<\?xml[ \t\r\n]/.test(text.slice(cursor.pos, cursor.pos + 6))) takeDeclaration(cursor);
  cursor.skipMisc();
  if (text.startsWith('<!DOCTYPE', cursor.pos)) {
    skipDoctype(cursor);
    cursor.skipMisc();
  }
  return cursor;
}
