import { describe, expect, test } from 'vitest';
import { type DerNode, readDer } from '../../../mdm/cms/read-der.ts';
import {
  readBitString,
  readOctets,
  readOid,
  readSmallInteger,
  readText,
  readTime,
  toDer,
} from '../../../mdm/cms/read-der-values.ts';
import { writeElement, writeInteger, writeOid, writeText, writeTime } from '../../../mdm/cms/write-der.ts';
import { reencodeBer } from './reencode-ber.ts';

function node(bytes: Buffer | string): DerNode {
  const result = readDer(typeof bytes === 'string' ? Buffer.from(bytes, 'hex') : bytes, { encoding: 'ber' });
  if (!result.ok) throw result.error;
  return result.value;
}

describe('single values', () => {
  test.each([
    '1.2.840.113549.1.7.2',
    '0.9.2342.19200300.100.1.1',
    '2.5.4.3',
    '2.16.840.1.101.3.4.2.1',
    '2.999.1',
    '1.3.101.112',
  ])('object identifier %s is written and read', (oid) => {
    expect(readOid(node(writeOid(oid)))).toBe(oid);
  });

  test('object identifiers in a second spelling, cut off or endless are not read', () => {
    expect(readOid(node('0600'))).toBeUndefined();
    expect(readOid(node('06032a8001'))).toBeUndefined();
    expect(readOid(node('06032a8681'))).toBeUndefined();
    expect(readOid(node(`060c2a${'ff'.repeat(10)}01`))).toBeUndefined();
    expect(readOid(node('0401ff'))).toBeUndefined();
  });

  test.each([
    '1950-01-01T00:00:00Z',
    '1999-12-31T23:59:59Z',
    '2024-02-29T12:00:00Z',
    '2049-12-31T23:59:59Z',
    '2050-01-01T00:00:00Z',
    '9999-12-31T23:59:59Z',
  ])('time %s is written and read', (text) => {
    expect(readTime(node(writeTime(new Date(text))))).toEqual(new Date(text));
  });

  test.each([
    '2402300000',
    '240230000000Z',
    '241301000000Z',
    '240101240000Z',
    '240101006000Z',
    '2401010000Z',
    '240101000000+0100',
    '24010100000aZ',
  ])('UTCTime %s is not a time', (text) => {
    expect(readTime(node(writeElement(0x17, Buffer.from(text, 'latin1'))))).toBeUndefined();
  });

  test('octet strings in pieces, and pieces of pieces, are joined; a piece of another type is refused', () => {
    expect(readOctets(node('2480040161240404020062' + '0000'))?.toString('latin1')).toBe('a\0b');
    expect(readOctets(node('24800401610c01620000'))).toBeUndefined();
    expect(readOctets(node('2400'))).toHaveLength(0);
  });

  test('numbers: sign, size and emptiness', () => {
    expect(readSmallInteger(node(writeInteger(0)))).toBe(0);
    expect(readSmallInteger(node(writeInteger(128)))).toBe(128);
    expect(readSmallInteger(node(writeInteger(2 ** 31 - 1)))).toBe(2 ** 31 - 1);
    expect(readSmallInteger(node('0201ff'))).toBeUndefined();
    expect(readSmallInteger(node('02050080000000'))).toBeUndefined();
    expect(readSmallInteger(node('0200'))).toBeUndefined();
    expect(writeInteger(Buffer.from('0000ff', 'hex')).toString('hex')).toBe('020200ff');
  });

  test('bit strings of whole octets only', () => {
    expect(readBitString(node('030200a0'))?.toString('hex')).toBe('a0');
    expect(readBitString(node('030205a0'))).toBeUndefined();
    expect(readBitString(node('0300'))).toBeUndefined();
  });

  test('text in every string type, and malformed UTF-8 is no text', () => {
    expect(readText(node(writeText('Gerät')))).toBe('Gerät');
    expect(writeText('Plain name')[0]).toBe(0x13);
    expect(readText(node('1e0400 4700e4'.replace(' ', '')))).toBe('Gä');
    expect(readText(node('1401e4'))).toBe('ä');
    expect(readText(node('0c01ff'))).toBeUndefined();
    expect(readText(node('020101'))).toBeUndefined();
  });

  test('BER turns back into the DER it came from', () => {
    const der = writeElement(
      0x30,
      writeOid('1.2.3'),
      writeElement(0x31, writeElement(4, Buffer.alloc(300, 7))),
      writeText('x'),
    );
    const ber = reencodeBer(der);
    expect(ber.equals(der)).toBe(false);
    expect(toDer(node(ber)).equals(der)).toBe(true);
  });
});
