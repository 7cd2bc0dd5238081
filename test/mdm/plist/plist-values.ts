import fc from 'fast-check';
import { createPlistDict, type PlistDict, type PlistValue, setDictEntry } from '../../../mdm/plist/value.ts';

/** Text that XML can hold: any characters but those that it forbids, with many of those that need care. */
export const plistText: fc.Arbitrary<string> = fc
  .string({
    unit: fc.oneof(
      fc.constantFrom(
        '&',
        '<',
        '>',
        '"',
        "'",
        ']]>',
        '&amp;',
        '\r',
        '\n',
        '\t',
        ' ',
        'é',
        '🍎',
        '-->',
        '\u0085',
        '\u2028',
        '\u2029',
        '{',
        '(',
      ),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 3 }),
    ),
    maxLength: 12,
  })
  .map((text) => text.replace(/[^\t\n\r -\ufffd]/g, '.'));

const wholeSecond = fc
  .date({ min: new Date('0000-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
  .map((date) => new Date(Math.floor(date.getTime() / 1000) * 1000));

const data = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));

/** What both we and the npm package `plist` can hold without loss. */
export const plainScalar: fc.Arbitrary<PlistValue> = fc.oneof(
  plistText,
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Number.isInteger(value)),
  fc.boolean(),
  wholeSecond,
  data,
);

/** All that a plist can hold, in the form in which it is read back. */
export const anyScalar: fc.Arbitrary<PlistValue> = fc.oneof(
  plainScalar,
  fc.double(),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n })
    .map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value)),
);

const anyKey = fc.oneof(plistText, fc.constantFrom('__proto__', 'constructor', 'toString', '0', '1023', '4294967294'));

function toDict(entries: readonly [string, PlistValue][]): PlistDict {
  const dict = createPlistDict();
  for (const [key, value] of entries) setDictEntry(dict, key, value);
  return dict;
}

/** Trees of the given scalars. `keys`: what dict keys look like. */
export function plistTree(
  scalar: fc.Arbitrary<PlistValue>,
  keys: fc.Arbitrary<string> = anyKey,
): fc.Arbitrary<PlistValue> {
  return fc.letrec<{ value: PlistValue }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      scalar,
      fc.array(tie('value'), { maxLength: 6 }),
      fc.array(fc.tuple(keys, tie('value')), { maxLength: 6 }).map(toDict),
    ),
  })).value;
}
