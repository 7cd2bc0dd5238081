/** Values → DER, for the certificates we issue and the messages the simulator sends. */
import { TAG } from './read-der.ts';

/** One element: identifier octet, shortest length, content. */
export function writeElement(tag: number, ...content: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of content) length += part.length;
  const header = headerOf(tag, length);
  return Buffer.concat([header, ...content], header.length + length);
}

function headerOf(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length]);
  if (length < 0x100) return Buffer.from([tag, 0x81, length]);
  if (length < 0x1_0000) return Buffer.from([tag, 0x82, length >> 8, length & 0xff]);
  const header = Buffer.from([tag, 0x84, 0, 0, 0, 0]);
  header.writeUInt32BE(length, 2);
  return length < 0x100_0000 ? Buffer.from([tag, 0x83, ...header.subarray(3)]) : header;
}

export const writeSequence = (...content: readonly Uint8Array[]): Buffer => writeElement(TAG.SEQUENCE, ...content);

/** SET OF: DER wants the elements in ascending order of their bytes (X.690 §11.6). */
export const writeSet = (...content: readonly Uint8Array[]): Buffer =>
  writeElement(TAG.SET, ...content.toSorted((a, b) => Buffer.compare(a, b)));

/** `[number]` around whole elements. */
export const writeExplicit = (number: number, ...content: readonly Uint8Array[]): Buffer =>
  writeElement(0xa0 | number, ...content);

/** INTEGER from an unsigned big-endian number, of any size. */
export function writeInteger(value: number | Uint8Array): Buffer {
  let bytes = typeof value === 'number' ? bytesOf(value) : value;
  while (bytes.length > 1 && bytes[0] === 0) bytes = bytes.subarray(1);
  const needsSign = bytes.length === 0 || (bytes[0] ?? 0) >= 0x80;
  return writeElement(TAG.INTEGER, ...(needsSign ? [Buffer.of(0), bytes] : [bytes]));
}

function bytesOf(value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(value, 0, 6);
  return bytes;
}

export function writeOid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const septets = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      septets.unshift((left % 128) | 0x80);
    bytes.push(...septets);
  }
  return writeElement(TAG.OID, Buffer.from(bytes));
}

export const writeNull = (): Buffer => writeElement(TAG.NULL);
export const writeTrue = (): Buffer => writeElement(TAG.BOOLEAN, Buffer.of(0xff));
export const writeOctetString = (content: Uint8Array): Buffer => writeElement(TAG.OCTET_STRING, content);
export const writeBitString = (content: Uint8Array, unusedBits = 0): Buffer =>
  writeElement(TAG.BIT_STRING, Buffer.of(unusedBits), content);

/** PrintableString where the characters allow it (what Apple's tools write), UTF8String otherwise. */
export function writeText(text: string): Buffer {
  const isPrintable = /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text);
  return writeElement(isPrintable ? TAG.PRINTABLE_STRING : TAG.UTF8_STRING, Buffer.from(text, 'utf8'));
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5). Whole seconds. */
export function writeTime(date: Date): Buffer {
  const text = date.toISOString().replace(/[-:T]/g, '').replace(/\.\d+/, '');
  const year = date.getUTCFullYear();
  if (year >= 1950 && year < 2050) return writeElement(TAG.UTC_TIME, Buffer.from(text.slice(2), 'latin1'));
  return writeElement(TAG.GENERALIZED_TIME, Buffer.from(text, 'latin1'));
}

/** AlgorithmIdentifier; RSA and the hashes carry NULL parameters, ECDSA none (RFC 3279 §2.2). */
export const writeAlgorithm = (dotted: string, parameters?: Uint8Array): Buffer =>
  writeSequence(writeOid(dotted), ...(parameters === undefined ? [] : [parameters]));
