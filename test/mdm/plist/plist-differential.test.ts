import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { build, buildBinary, parse, type PlistValue as TheirValue } from 'plist';
import { describe, expect, test } from 'vitest';
import { readPlist } from '../../../mdm/plist/read-plist.ts';
import { isPlistDict, type PlistValue } from '../../../mdm/plist/value.ts';
import { writePlist } from '../../../mdm/plist/write-plist.ts';
import { anyScalar, plainScalar, plistText, plistTree } from './plist-values.ts';
import { AUTHENTICATE, DEVICE_INFORMATION, installedApplicationList, TOKEN_UPDATE } from './samples.ts';

function read(document: Uint8Array | string): PlistValue {
  const result = readPlist(Buffer.from(document));
  if (!result.ok) throw result.error;
  return result.value;
}

/** The other package's values in our form: data as Buffer, dicts without a prototype do not matter to toEqual. */
function ours(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(ours);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, ours(entry)]));
}

/** Our values in the other package's types, which know data only as a plain Uint8Array. */
function theirs(value: PlistValue): TheirValue {
  if (Array.isArray(value)) return value.map(theirs);
  if (isPlistDict(value)) return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, theirs(entry)]));
  if (typeof value === 'bigint') throw new Error('not a plain value');
  return value instanceof Uint8Array ? new Uint8Array(value) : value;
}

// The npm package throws on a key `__proto__`, and drops the value of an empty key.
const tame = plistText.map((text) => `k${text}`);

describe('round trips', () => {
  test('whatever is written is read back, in either form', () => {
    fc.assert(
      fc.property(plistTree(anyScalar), fc.boolean(), fc.boolean(), (value, indent, finalNewline) => {
        // Not toStrictEqual: that one trips over a key named `constructor`.
        deepStrictEqual(read(writePlist(value, { indent, finalNewline })), value);
      }),
      { numRuns: 1500 },
    );
  });
});

describe('against the npm package plist', () => {
  test('we read what it writes', () => {
    fc.assert(
      fc.property(plistTree(plainScalar, tame), (value) => {
        expect(read(build(theirs(value)))).toEqual(value);
      }),
      { numRuns: 700 },
    );
  });

  test('it reads what we write', () => {
    fc.assert(
      fc.property(plistTree(plainScalar, tame), (value) => {
        expect(ours(parse(writePlist(value).toString('utf8')))).toEqual(value);
      }),
      { numRuns: 700 },
    );
  });

  test('we read what it writes as binary', () => {
    fc.assert(
      fc.property(plistTree(plainScalar, tame), (value) => {
        expect(read(buildBinary(theirs(value)))).toEqual(value);
      }),
      { numRuns: 700 },
    );
  });

  test.each([
    ['Authenticate', AUTHENTICATE],
    ['TokenUpdate', TOKEN_UPDATE],
    ['DeviceInformation', DEVICE_INFORMATION],
    ['InstalledApplicationList', installedApplicationList(30)],
  ])('both read the same from %s', (_name, document) => {
    expect(read(document)).toEqual(ours(parse(document.toString('utf8'))));
  });
});
