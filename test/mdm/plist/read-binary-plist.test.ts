import { buildBinary } from 'plist';
import { describe, expect, test } from 'vitest';
import type { ProtocolErrorCode } from '../../../mdm/errors.ts';
import type { PlistLimits } from '../../../mdm/plist/limits.ts';
import { readPlist } from '../../../mdm/plist/read-plist.ts';
import { createPlistDict, isPlistDict, type PlistValue } from '../../../mdm/plist/value.ts';
import { binaryLaughs, binaryPlist } from './binary-plist.ts';

function read(document: Uint8Array, limits?: Partial<PlistLimits>): PlistValue {
  const result = readPlist(document, limits);
  if (!result.ok) throw result.error;
  return result.value;
}

function refusal(document: Uint8Array, limits?: Partial<PlistLimits>): string {
  const result = readPlist(document, limits);
  return result.ok ? 'was read' : `${result.error.code}: ${result.error.message}`;
}

const ascii = (text: string): number[] => [0x50 + text.length, ...Buffer.from(text)];
const hex = (text: string): number[] => [...Buffer.from(text.replaceAll(' ', ''), 'hex')];

test('a whole message as another writer writes it (nanomdm §10 #102, the plist)', () => {
  const message = {
    MessageType: 'Authenticate',
    UDID: 'AAAA-BBBB',
    DeviceName: 'Café 🍎',
    Count: 300,
    Large: 2 ** 40,
    Negative: -5,
    Real: 1.5,
    Yes: true,
    No: false,
    When: new Date('2026-11-20T06:12:44Z'),
    Token: new Uint8Array([1, 2, 3]),
    List: [[], {}, 'x'.repeat(500)],
  };
  expect(read(buildBinary(message))).toEqual({ ...message, Token: Buffer.from([1, 2, 3]) });
});

describe('objects', () => {
  test.each<[string, number[], PlistValue]>([
    ['false', [0x08], false],
    ['true', [0x09], true],
    ['1 byte, unsigned', hex('10 ff'), 255],
    ['2 bytes, unsigned', hex('11 ffff'), 65535],
    ['4 bytes, unsigned', hex('12 ffffffff'), 4294967295],
    ['8 bytes, signed', hex('13 ffffffffffffffff'), -1],
    ['8 bytes beyond 2^53', hex('13 0020000000000000'), 9007199254740992n],
    ['16 bytes', hex('14 0000000000000000 ffffffffffffffff'), 18446744073709551615n],
    ['16 bytes, negative', hex('14 ffffffffffffffff fffffffffffffffb'), -5],
    ['4-byte real', hex('22 3fc00000'), 1.5],
    ['8-byte real', hex('23 7ff8000000000000'), Number.NaN],
    ['date', hex('33 0000000000000000'), new Date('2001-01-01T00:00:00Z')],
    ['date before 2001', hex('33 c1 cd 27 e4 40 00 00 00'), new Date('1970-01-01T00:00:00Z')],
    ['data', hex('43 010203'), Buffer.from([1, 2, 3])],
    ['data with a count object', [0x4f, 0x11, 0, 20, ...Array<number>(20).fill(7)], Buffer.alloc(20, 7)],
    ['ASCII', ascii('abc'), 'abc'],
    ['ASCII with a count object', [0x5f, 0x10, 20, ...Array<number>(20).fill(0x61)], 'a'.repeat(20)],
    ['UTF-16', hex('63 0041 d83c df4e'), 'A🍎'],
    ['empty array', [0xa0], []],
    ['empty dict', [0xd0], createPlistDict()],
  ])('%s', (_name, object, value) => {
    expect(read(binaryPlist([object]))).toStrictEqual(value);
  });

  test('dicts: keys, then values; a repeated key’s last value holds; keys are never JavaScript’s', () => {
    const objects = [[0xd3, 1, 2, 1, 3, 3, 4], ascii('a'), ascii('__proto__'), [0x08], [0x09]];
    const value = read(binaryPlist(objects));
    if (!isPlistDict(value)) throw new Error('not a dict');
    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(Object.entries(value)).toStrictEqual([
      ['a', true],
      ['__proto__', false],
    ]);
  });

  test('an object referenced twice is there twice; containers are not shared', () => {
    const value = read(binaryPlist([[0xa2, 1, 1], [0xa1, 2], ascii('a')]));
    expect(value).toStrictEqual([['a'], ['a']]);
    expect(Array.isArray(value) && value[0] !== value[1]).toBe(true);
  });

  test('data is a copy, and strings do not change the bytes they are read from', () => {
    const document = binaryPlist([[0xa2, 1, 2], hex('42 0102'), hex('62 0041 0042')]);
    const before = Buffer.from(document);
    const value = read(document);
    expect(document.equals(before)).toBe(true);
    document.fill(0);
    expect(value).toStrictEqual([Buffer.from([1, 2]), 'AB']);
  });
});

describe('what is refused', () => {
  const one = (bytes: string): Buffer => binaryPlist([hex(bytes)]);
  test.each<[string, Buffer, ProtocolErrorCode, string]>([
    ['the magic alone', Buffer.from('bplist00'), 'plist.syntax', 'cut short'],
    [
      'the magic and a trailer',
      Buffer.concat([Buffer.from('bplist00'), Buffer.alloc(32)]),
      'plist.syntax',
      'cut short',
    ],
    ['a trailer of zeros', Buffer.concat([Buffer.from('bplist00'), Buffer.alloc(40)]), 'plist.syntax', 'size'],
    ['no objects', binaryPlist([[9]], { count: 0 }), 'plist.syntax', 'table'],
    ['more objects than there is table', binaryPlist([[9]], { count: 2 }), 'plist.syntax', 'table'],
    ['2^53 objects', binaryPlist([[9]], { count: 2 ** 53 }), 'plist.syntax', 'table'],
    ['offsets of 9 bytes', binaryPlist([[9]], { offsetSize: 9 }), 'plist.syntax', 'size'],
    ['references of no bytes', binaryPlist([[9]], { referenceSize: 0 }), 'plist.syntax', 'size'],
    ['a table in the header', binaryPlist([[9]], { tableAt: 0n }), 'plist.syntax', 'table'],
    ['a table far outside', binaryPlist([[9]], { tableAt: 2n ** 64n - 1n }), 'plist.syntax', 'table'],
    ['a top object that is not there', binaryPlist([[9]], { top: 1 }), 'plist.syntax', 'top object'],
    ['an object in the header', binaryPlist([[9]], { offsets: [7] }), 'plist.syntax', 'object is out of bounds'],
    ['an object in the table', binaryPlist([[9]], { offsets: [9] }), 'plist.syntax', 'object is out of bounds'],
    ['a reference outside', binaryPlist([[0xa1, 1]]), 'plist.syntax', 'reference is out of bounds'],
    ['an array cut short', one('a2 00'), 'plist.syntax', 'cut short'],
    ['an array of 2^60', one('af 13 1000000000000000'), 'plist.syntax', 'cut short'],
    ['a string of 2^63', one('5f 13 8000000000000000'), 'plist.syntax', 'cut short'],
    ['an ASCII string cut short', one('52 41'), 'plist.syntax', 'cut short'],
    ['a UTF-16 string cut short', one('62 0041 00'), 'plist.syntax', 'cut short'],
    ['data cut short', one('44 000000'), 'plist.syntax', 'cut short'],
    ['an integer cut short', one('13 00'), 'plist.syntax', 'cut short'],
    ['a real cut short', one('23 00'), 'plist.syntax', 'cut short'],
    ['a date cut short', one('33 00'), 'plist.syntax', 'cut short'],
    ['a count cut short', one('4f'), 'plist.syntax', 'cut short'],
    ['a count object cut short', one('4f 11 00'), 'plist.syntax', 'cut short'],
    ['a count that is a string', one('4f 51 41'), 'plist.syntax', 'count'],
    ['a count of 16 bytes', one(`4f 14 ${'00'.repeat(16)}`), 'plist.syntax', 'count'],
    ['an integer of 32 bytes', one(`15 ${'00'.repeat(32)}`), 'plist.syntax', 'impossible size'],
    ['an integer beyond 64 bits', one('14 0000000000000001 0000000000000000'), 'plist.syntax', 'beyond 64 bits'],
    ['an integer below 64 bits', one('14 ffffffffffffffff 7fffffffffffffff'), 'plist.syntax', 'beyond 64 bits'],
    ['a real of 2 bytes', one('21 0000'), 'plist.syntax', 'impossible size'],
    ['a date of 4 bytes', one('32 00000000'), 'plist.syntax', 'impossible size'],
    ['a date that is no number', one('33 7ff8000000000000'), 'plist.syntax', 'date is out of range'],
    ['a date in the year 10000', one('33 424dc17acb8c0000'), 'plist.syntax', 'date is out of range'],
    ['ASCII that is none', one('51 80'), 'plist.encoding', 'encoding'],
    ['half of a surrogate pair', one('61 d83c'), 'plist.encoding', 'encoding'],
    ['a zero byte in a string', one('51 00'), 'plist.syntax', 'forbidden'],
    ['null', one('00'), 'plist.syntax', 'kind'],
    ['fill', one('0f'), 'plist.syntax', 'kind'],
    ['a UID', one('80 01'), 'plist.syntax', 'kind'],
    ['a set', one('c0'), 'plist.syntax', 'kind'],
    ['an ordered set', one('b0'), 'plist.syntax', 'kind'],
    ['a kind that does not exist', one('f0'), 'plist.syntax', 'kind'],
    ['a key that is no string', binaryPlist([[0xd1, 1, 1], [9]]), 'plist.syntax', 'key is not a string'],
    ['a key that is a container', binaryPlist([[0xd1, 1, 2], [0xa0], [9]]), 'plist.syntax', 'key is not a string'],
    ['an array that holds itself', binaryPlist([[0xa1, 0]]), 'plist.syntax', 'contains itself'],
    ['a dict that holds itself', binaryPlist([[0xd1, 1, 0], ascii('a')]), 'plist.syntax', 'contains itself'],
    [
      'two arrays that hold each other',
      binaryPlist([
        [0xa1, 1],
        [0xa1, 0],
      ]),
      'plist.syntax',
      'contains itself',
    ],
    ['an array that holds itself many times', binaryPlist([[0xa4, 0, 0, 0, 0]]), 'plist.syntax', 'contains itself'],
  ])('%s', (_name, document, code, message) => {
    expect(refusal(document)).toContain(code);
    expect(refusal(document)).toContain(message);
  });

  test('the same container on two branches is no cycle', () => {
    expect(read(binaryPlist([[0xa2, 1, 2], [0xa1, 2], [0xa0]]))).toStrictEqual([[[]], []]);
  });
});

describe('limits', () => {
  test('135 bytes of arrays that hold each other ten times over', () => {
    const document = binaryLaughs(7, 10);
    expect(document.length).toBeLessThanOrEqual(135);
    expect(refusal(document)).toBe('plist.limit: more than 65536 values');
    expect(refusal(binaryLaughs(14, 14))).toBe('plist.limit: more than 65536 values');
  });

  test('values are counted across containers', () => {
    const array = (count: number, first: number): number[] => [
      ...[0xaf, 0x11, count >> 8, count & 0xff, first],
      ...Array<number>(count - 1).fill(2),
    ];
    // The root, 30,000 in it (one of them an array), and what is in that one.
    const document = (count: number): Buffer =>
      binaryPlist([array(30_000, 1), array(count, 2), [9]], { offsetSize: 4 });
    expect(refusal(document(35_535))).toBe('was read');
    expect(refusal(document(35_536))).toBe('plist.limit: more than 65536 values');
  });

  test('references to one large string add up to its size as often', () => {
    const text = [0x5f, 0x12, 0, 0, 0x80, 0, ...Array<number>(32_768).fill(0x61)];
    const document = binaryPlist([[0xaf, 0x11, 0x27, 0x10, ...Array<number>(10_000).fill(1)], text]);
    expect(refusal(document)).toBe('plist.limit: more than 20971520 bytes');
    expect(read(document, { maxBytes: 400_000_000 })).toHaveLength(10_000);
  });

  test('references to one large piece of data do too, and to one key', () => {
    const data = [0x4f, 0x11, 0x40, 0, ...Array<number>(16_384).fill(1)];
    const array = [0xaf, 0x11, 0x10, 0, ...Array<number>(4096).fill(1)];
    expect(refusal(binaryPlist([array, data]))).toBe('plist.limit: more than 20971520 bytes');
    const key = [0x5f, 0x11, 0x10, 0, ...Array<number>(4096).fill(0x61)];
    const dict = [0xdf, 0x11, 0x20, 0, ...Array<number>(8192).fill(1), ...Array<number>(8192).fill(2)];
    expect(refusal(binaryPlist([dict, key, [9]]))).toBe('plist.limit: more than 20971520 bytes');
  });

  test('depth: 16 containers and no more', () => {
    const nested = (depth: number): Buffer => binaryLaughs(depth - 1, 1);
    expect(readPlist(nested(16)).ok).toBe(true);
    expect(refusal(nested(17))).toBe('plist.limit: nested deeper than 16');
    expect(refusal(nested(5), { maxDepth: 4 })).toBe('plist.limit: nested deeper than 4');
    expect(readPlist(nested(100), { maxBinaryDepth: 100, maxDepth: 100 }).ok).toBe(true);
  });

  test('objects, values, key length, bytes', () => {
    const array = binaryPlist([[0xa2, 1, 1], ascii('abc')]);
    expect(readPlist(array, { maxNodes: 3 }).ok).toBe(true);
    expect(refusal(array, { maxBinaryNodes: 2 })).toBe('plist.limit: more than 2 values');
    expect(refusal(array, { maxBinaryNodes: 1 })).toBe('plist.limit: more than 1 objects');
    expect(refusal(array, { maxBytes: 50 })).toBe('plist.limit: larger than 50 bytes');
    const dict = binaryPlist([[0xd1, 1, 1], ascii('abc')]);
    expect(readPlist(dict, { maxKeyLength: 3 }).ok).toBe(true);
    expect(refusal(dict, { maxKeyLength: 2 })).toBe('plist.limit: key longer than 2');
  });
});
