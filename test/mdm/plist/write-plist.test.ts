import { describe, expect, test } from 'vitest';
import { readPlist } from '../../../mdm/plist/read-plist.ts';
import { createPlistDict, type PlistDict, type PlistValue } from '../../../mdm/plist/value.ts';
import { PlistValueError, type WritePlistOptions, writePlist } from '../../../mdm/plist/write-plist.ts';

const PROLOG =
  '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n';

const write = (value: PlistValue, options?: WritePlistOptions): string => writePlist(value, options).toString('utf8');
const element = (value: PlistValue): string =>
  write(value, { indent: false, finalNewline: false }).slice(PROLOG.length + 21, -8);

/** What writePlist throws. `value` is unknown: callers of JavaScript's kind can hand over anything. */
function refusal(value: unknown): PlistValueError {
  try {
    Reflect.apply(writePlist, undefined, [value]);
  } catch (error) {
    if (error instanceof PlistValueError) return error;
    throw error;
  }
  throw new Error('was written');
}

describe('form', () => {
  test('as Apple writes: tabs, one element a line', () => {
    const value = { Command: { RequestType: 'Settings', Settings: [{ Item: 'Bluetooth', Enabled: true }], None: [] } };
    expect(write(value)).toBe(`${PROLOG}<plist version="1.0">
<dict>
	<key>Command</key>
	<dict>
		<key>RequestType</key>
		<string>Settings</string>
		<key>Settings</key>
		<array>
			<dict>
				<key>Item</key>
				<string>Bluetooth</string>
				<key>Enabled</key>
				<true/>
			</dict>
		</array>
		<key>None</key>
		<array/>
	</dict>
</dict>
</plist>
`);
  });

  test('the zero-length DigestChallenge: the reference server’s 234 bytes (nanomdm §1.3 UserAuthenticate)', () => {
    const bytes = writePlist({ DigestChallenge: '' }, { finalNewline: false });
    expect(bytes).toHaveLength(234);
    expect(bytes.toString()).toBe(
      `${PROLOG}<plist version="1.0">\n<dict>\n\t<key>DigestChallenge</key>\n\t<string></string>\n</dict>\n</plist>`,
    );
  });

  test('the bootstrap token: everything on one line and a line feed (nanomdm §1.3 GetBootstrapToken)', () => {
    expect(write({ BootstrapToken: Buffer.from('token') }, { indent: false })).toBe(
      `${PROLOG}<plist version="1.0"><dict><key>BootstrapToken</key><data>dG9rZW4=</data></dict></plist>\n`,
    );
  });
});

describe('values', () => {
  test.each<[string, PlistValue]>([
    ['<string></string>', ''],
    [`<string>&lt;a href="x"&gt; &amp; 'b'</string>`, `<a href="x"> & 'b'`],
    ['<string>]]&gt;</string>', ']]>'],
    ['<string>a\n\tb&#13;</string>', 'a\n\tb\r'],
    ['<string>Café 🍎 &#133;&#8232;</string>', 'Café 🍎 \u0085\u2028'],
    ['<string>&#133;</string>', '\u0085'],
    ['<string>&#8232;&#8233;</string>', '\u2028\u2029'],
    ['<integer>0</integer>', 0],
    ['<integer>-9007199254740991</integer>', -9007199254740991],
    ['<integer>18446744073709551615</integer>', 18446744073709551615n],
    ['<integer>-9223372036854775808</integer>', -9223372036854775808n],
    ['<integer>5</integer>', 5n],
    ['<real>0.1</real>', 0.1],
    ['<real>-0.0</real>', -0],
    ['<real>1e+21</real>', 1e21],
    ['<real>9007199254740992</real>', 2 ** 53],
    ['<real>nan</real>', Number.NaN],
    ['<real>+infinity</real>', Number.POSITIVE_INFINITY],
    ['<real>-infinity</real>', Number.NEGATIVE_INFINITY],
    ['<true/>', true],
    ['<false/>', false],
    ['<date>2026-11-20T06:12:44Z</date>', new Date('2026-11-20T06:12:44.999Z')],
    ['<date>0000-01-01T00:00:00Z</date>', new Date('0000-01-01T00:00:00Z')],
    ['<date>1969-12-31T23:59:59Z</date>', new Date(-1)],
    ['<data></data>', Buffer.alloc(0)],
    ['<data>+/8=</data>', Buffer.from([0xfb, 0xff])],
    ['<array/>', []],
    ['<dict/>', {}],
    ['<dict/>', createPlistDict()],
    ['<dict><key>&lt;</key><true/></dict>', { '<': true }],
  ])('%s', (text, value) => {
    expect(element(value)).toBe(text);
  });

  test('data is the bytes of the view, not of the buffer behind it', () => {
    expect(element(Buffer.from('abcdef').subarray(2, 4))).toBe('<data>Y2Q=</data>');
  });

  test('a dict’s own keys only, whatever their names', () => {
    const dict = createPlistDict();
    Object.defineProperty(dict, '__proto__', { value: 'a', enumerable: true });
    expect(element(dict)).toBe('<dict><key>__proto__</key><string>a</string></dict>');
  });
});

describe('what is refused, and where it was', () => {
  const cycle: PlistDict = {};
  cycle.self = [cycle];
  test.each<[string, unknown, string, string]>([
    ['undefined', undefined, 'undefined', ''],
    ['null', null, 'null', ''],
    ['an undefined entry', { a: { b: undefined } }, 'undefined', 'a.b'],
    ['a null entry', { a: [1, { b: null }] }, 'null', 'a[1].b'],
    ['a hole', new Array(2), 'undefined', '[0]'],
    ['a function', { a: () => 1 }, 'function', 'a'],
    ['a symbol', [Symbol('a')], 'symbol', '[0]'],
    ['a Map', { a: new Map() }, 'not a plain dict', 'a'],
    ['an invalid date', [new Date(Number.NaN)], 'invalid date', '[0]'],
    ['a date in the year 10000', new Date('+010000-01-01T00:00:00Z'), 'invalid date', ''],
    ['a date before the year 0', new Date('-000001-01-01T00:00:00Z'), 'invalid date', ''],
    ['an integer beyond 64 bits', { n: 2n ** 64n }, 'beyond 64 bits', 'n'],
    ['an integer below 64 bits', { n: -(2n ** 63n) - 1n }, 'beyond 64 bits', 'n'],
    ['a zero byte', { a: ['ok', 'a\u0000'] }, 'forbids', 'a[1]'],
    ['an escape character', '\u001b[0m', 'forbids', ''],
    ['U+FFFF', '\uffff', 'forbids', ''],
    ['a control character in a key', { 'a\u0001': 1 }, 'forbids', 'a\u0001'],
    ['half of a surrogate pair', { a: '\ud83c' }, 'surrogate', 'a'],
    ['the other half', { a: 'x\udf4e' }, 'surrogate', 'a'],
    ['a cycle', cycle, 'too deep', `${'self[0].'.repeat(31)}self[0]`],
  ])('%s', (_name, value, reason, path) => {
    const error = refusal(value);
    expect(error.message).toContain(reason);
    expect(error.path).toBe(path);
  });

  test('what is nested as deep as it is read is written, and no deeper', () => {
    const nested = (depth: number): PlistValue => (depth === 0 ? true : [nested(depth - 1)]);
    expect(readPlist(writePlist(nested(64)))).toStrictEqual({ ok: true, value: nested(64) });
    expect(refusal(nested(65)).message).toContain('too deep');
  });
});
