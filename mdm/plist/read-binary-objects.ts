import { ProtocolError, type ProtocolErrorCode } from '../errors.ts';
import { isPlistDate, plistInteger } from './value.ts';
import { FORBIDDEN_IN_XML } from './xml-characters.ts';

/** Where the objects of a binary plist are. */
export interface BinaryObjects {
  readonly bytes: Buffer;
  readonly count: number;
  readonly top: number;
  /** Bytes of one entry of the offset table, and of one reference inside a container: 1 to 8. */
  readonly offsetSize: number;
  readonly referenceSize: number;
  /** Start of the offset table, which is also the end of the objects. */
  readonly tableAt: number;
}

/** One object's marker: the high and the low half of its first byte. */
export interface BinaryMarker {
  readonly kind: number;
  /** Number of bytes, UTF-16 units, members or pairs; of an integer or a real its size in bytes. */
  readonly count: number;
  /** Where what follows the marker (and its count) starts. */
  readonly at: number;
}

export const BINARY_KIND = {
  SIMPLE: 0x0,
  INTEGER: 0x1,
  REAL: 0x2,
  DATE: 0x3,
  DATA: 0x4,
  ASCII: 0x5,
  UTF16: 0x6,
  ARRAY: 0xa,
  DICT: 0xd,
} as const;

const HEADER_SIZE = 8;
const TRAILER_SIZE = 32;
const REFERENCE_DATE_MS = Date.UTC(2001, 0, 1);

/** @throws ProtocolError always. */
export function refuseBinary(code: ProtocolErrorCode, message: string, offset: number): never {
  throw new ProtocolError(code, message, offset);
}

/** A big-endian unsigned integer of 1 to 8 bytes, exact up to 2^53 and still greater than any offset beyond. */
export function readUnsigned(bytes: Buffer, at: number, size: number): number {
  let value = 0;
  for (let index = at; index < at + size; index += 1) value = value * 256 + bytes.readUInt8(index);
  return value;
}

/** Reads and checks the trailer. @throws ProtocolError plist.syntax, plist.limit (more than `maxObjects`) */
export function openBinary(bytes: Buffer, maxObjects: number): BinaryObjects {
  const trailerAt = bytes.length - TRAILER_SIZE;
  if (trailerAt <= HEADER_SIZE) return refuseBinary('plist.syntax', 'binary plist is cut short', bytes.length);
  const offsetSize = bytes.readUInt8(trailerAt + 6);
  const referenceSize = bytes.readUInt8(trailerAt + 7);
  const count = readUnsigned(bytes, trailerAt + 8, 8);
  const top = readUnsigned(bytes, trailerAt + 16, 8);
  const tableAt = readUnsigned(bytes, trailerAt + 24, 8);
  if (offsetSize < 1 || offsetSize > 8 || referenceSize < 1 || referenceSize > 8) {
    return refuseBinary('plist.syntax', 'impossible integer size in the trailer', trailerAt + 6);
  }
  // A table that cannot be there is a lie, not a large document.
  if (count < 1 || tableAt <= HEADER_SIZE || tableAt + count * offsetSize > trailerAt) {
    return refuseBinary('plist.syntax', 'offset table is out of bounds', trailerAt + 8);
  }
  if (count > maxObjects) return refuseBinary('plist.limit', `more than ${maxObjects} objects`, trailerAt + 8);
  if (top >= count) return refuseBinary('plist.syntax', 'top object is out of bounds', trailerAt + 16);
  return { bytes, count, top, offsetSize, referenceSize, tableAt };
}

/** The offset of an object. @throws ProtocolError plist.syntax: the reference or the offset is out of bounds */
export function locateObject(objects: BinaryObjects, index: number, referenceAt: number): number {
  if (index >= objects.count) return refuseBinary('plist.syntax', 'reference is out of bounds', referenceAt);
  const entryAt = objects.tableAt + index * objects.offsetSize;
  const offset = readUnsigned(objects.bytes, entryAt, objects.offsetSize);
  if (offset < HEADER_SIZE || offset >= objects.tableAt) {
    return refuseBinary('plist.syntax', 'object is out of bounds', entryAt);
  }
  return offset;
}

/** Refuses `size` bytes at `at` that are not all before the offset table. */
export function requireBytes(objects: BinaryObjects, at: number, size: number): void {
  if (at + size > objects.tableAt) refuseBinary('plist.syntax', 'object is cut short', at);
}

/** Reads the marker at an offset. @throws ProtocolError plist.syntax */
export function readMarker(objects: BinaryObjects, offset: number): BinaryMarker {
  const marker = objects.bytes.readUInt8(offset);
  const kind = marker >> 4;
  const low = marker & 0x0f;
  const at = offset + 1;
  if (kind === BINARY_KIND.INTEGER || kind === BINARY_KIND.REAL) return { kind, count: 2 ** low, at };
  const hasCountObject = low === 0x0f && kind >= BINARY_KIND.DATA;
  if (!hasCountObject) return { kind, count: low, at };
  // 15 and more: an integer object of its own gives the count.
  requireBytes(objects, at, 1);
  const countMarker = objects.bytes.readUInt8(at);
  const size = 2 ** (countMarker & 0x0f);
  if (countMarker >> 4 !== BINARY_KIND.INTEGER || size > 8) {
    return refuseBinary('plist.syntax', 'count is not an integer', at);
  }
  requireBytes(objects, at + 1, size);
  return { kind, count: readUnsigned(objects.bytes, at + 1, size), at: at + 1 + size };
}

/** 1, 2 and 4 bytes are unsigned, 8 and 16 signed (as CoreFoundation writes them). */
export function readBinaryInteger(objects: BinaryObjects, { count, at }: BinaryMarker): number | bigint {
  if (count > 16) return refuseBinary('plist.syntax', 'integer of an impossible size', at);
  requireBytes(objects, at, count);
  if (count < 8) return readUnsigned(objects.bytes, at, count);
  const high = objects.bytes.readBigInt64BE(at);
  const wide = count === 8 ? high : (high << 64n) | objects.bytes.readBigUInt64BE(at + 8);
  const value = plistInteger(wide);
  return value ?? refuseBinary('plist.syntax', 'integer beyond 64 bits', at);
}

/** 4 or 8 bytes, IEEE 754. */
export function readBinaryReal(objects: BinaryObjects, { count, at }: BinaryMarker): number {
  if (count !== 4 && count !== 8) return refuseBinary('plist.syntax', 'real of an impossible size', at);
  requireBytes(objects, at, count);
  return count === 4 ? objects.bytes.readFloatBE(at) : objects.bytes.readDoubleBE(at);
}

/** Seconds since 2001-01-01 UTC as an 8-byte real. */
export function readBinaryDate(objects: BinaryObjects, { count, at }: BinaryMarker): Date {
  if (count !== 3) return refuseBinary('plist.syntax', 'date of an impossible size', at);
  requireBytes(objects, at, 8);
  const date = new Date(REFERENCE_DATE_MS + objects.bytes.readDoubleBE(at) * 1000);
  return isPlistDate(date) ? date : refuseBinary('plist.syntax', 'date is out of range', at);
}

/** An ASCII (kind 5) or UTF-16 big-endian (kind 6) string. @throws ProtocolError plist.encoding, plist.syntax */
export function readBinaryString(objects: BinaryObjects, { kind, count, at }: BinaryMarker): string {
  const size = kind === BINARY_KIND.UTF16 ? count * 2 : count;
  requireBytes(objects, at, size);
  const raw = objects.bytes.subarray(at, at + size);
  // swap16 works in place: on a copy, for the bytes are the caller's.
  const text = kind === BINARY_KIND.UTF16 ? Buffer.from(raw).swap16().toString('utf16le') : raw.toString('latin1');
  const isValid = kind === BINARY_KIND.UTF16 ? text.isWellFormed() : !/[\u0080-\u00ff]/.test(text);
  if (!isValid) return refuseBinary('plist.encoding', 'string is not in its encoding', at);
  // So that everything read can be written as XML.
  if (FORBIDDEN_IN_XML.test(text)) return refuseBinary('plist.syntax', 'forbidden character', at);
  return text;
}
