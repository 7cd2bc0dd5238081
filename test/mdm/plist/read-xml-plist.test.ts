import { describe, expect, test } from 'vitest';
import type { ProtocolErrorCode } from '../../../mdm/errors.ts';
import { readPlist } from '../../../mdm/plist/read-plist.ts';
import { createPlistDict, isPlistDict, type PlistValue } from '../../../mdm/plist/value.ts';
import { AUTHENTICATE, DEVICE_INFORMATION, installedApplicationList, TOKEN_UPDATE } from './samples.ts';

function read(document: string | Uint8Array): PlistValue {
  const result = readPlist(typeof document === 'string' ? Buffer.from(document) : document);
  if (!result.ok) throw result.error;
  return result.value;
}

function refusal(document: string | Uint8Array): { code: ProtocolErrorCode; offset: number | undefined } {
  const result = readPlist(typeof document === 'string' ? Buffer.from(document) : document);
  if (result.ok) throw new Error('was read');
  return { code: result.error.code, offset: result.error.offset };
}

const dict = (entries: { [key: string]: PlistValue }): PlistValue => Object.assign(createPlistDict(), entries);

describe('what devices send', () => {
  test('a Mac’s Authenticate (nanomdm §10 #2, the plist)', () => {
    expect(read(AUTHENTICATE)).toStrictEqual(
      dict({
        BuildVersion: '25B78',
        DeviceName: 'Reception & Café ’s Mac',
        MessageType: 'Authenticate',
        Model: 'Mac16,12',
        ModelName: 'MacBook Air',
        OSVersion: '26.1',
        ProductName: 'Mac16,12',
        SerialNumber: 'C02ESPALIER1',
        Topic: 'com.apple.mgmt.External.3f6e2a90-14c7-4d0a-b1de-9c58a7e04f21',
        UDID: '8B4C1F0E-5D2A-5C7B-9E63-0A1F2B3C4D5E',
      }),
    );
  });

  test('a TokenUpdate: push magic, token bytes, unlock token over several lines (nanomdm §10 #3, the plist)', () => {
    const message = read(TOKEN_UPDATE);
    if (!isPlistDict(message)) throw new Error('not a dict');
    expect(message.PushMagic).toBe('6E4B7A12-9C3D-4F5E-8A01-B2C3D4E5F607');
    expect(message.Token).toStrictEqual(Buffer.from('Z3V4+kgN99qlFyM6aorC7FpbiO7Joy4XZFdL+XwUD/0=', 'base64'));
    expect(message.UnlockToken).toHaveLength(300);
    expect(message.AwaitingConfiguration).toBe(false);
  });

  test('a DeviceInformation result: nested dicts, reals, a date (nanomdm §10 #6, the plist)', () => {
    const report = read(DEVICE_INFORMATION);
    if (!isPlistDict(report) || !isPlistDict(report.QueryResponses)) throw new Error('not a dict');
    expect(report.Status).toBe('Acknowledged');
    const { QueryResponses: answers } = report;
    expect(answers.DeviceCapacity).toBe(494.3842658996582);
    expect(answers.OSUpdateSettings).toMatchObject({
      PreviousScanDate: new Date('2026-11-20T06:12:44Z'),
      PreviousScanResult: 0,
      CatalogURL: 'https://swscan.example.com/content/catalogs/others/index.sucatalog?a=1&b=2',
    });
    expect(Object.keys(answers)).toHaveLength(36);
  });

  test('an installed application list', () => {
    const report = read(installedApplicationList(520));
    if (!isPlistDict(report) || !Array.isArray(report.InstalledApplicationList)) throw new Error('not a list');
    expect(report.InstalledApplicationList).toHaveLength(520);
    expect(report.InstalledApplicationList[9]).toMatchObject({ Name: 'Search & Find 9', IsValidated: true });
  });
});

describe('what the reference server takes (nanomdm §10 #86)', () => {
  const idle = dict({ Status: 'Idle' });
  const body = '<dict><key>Status</key><string>Idle</string></dict>';
  test.each([
    ['no XML declaration', `<plist version="1.0">${body}</plist>`],
    ['white space before everything', ` \r\n\t<?xml version="1.0" encoding="UTF-8"?>\n<plist>${body}</plist>`],
    ['a byte order mark', `\ufeff<?xml version="1.0"?><plist>${body}</plist>`],
    ['a byte order mark and white space', `\ufeff\n<plist>${body}</plist>`],
    ['no plist element', body],
    ['no plist element after a declaration', `<?xml version='1.0'?>${body}`],
    ['text after the closing tag', `<plist>${body}</plist>trailing <text & more`],
    ['text after the closing tag of the bare value', `${body}trailing`],
    ['a zero byte after the closing tag', `<plist>${body}</plist>\u0000`],
    ['a repeated key: the last one wins', `<dict><key>Status</key><string>A</string>${body.slice(6)}`],
    ['the encoding in any case', `<?xml version="1.0" encoding="uTf-8" standalone="yes"?>${body}`],
    ['US-ASCII', `<?xml version="1.0" encoding="us-ascii"?>${body}`],
    ['Apple’s older DOCTYPE', `<!DOCTYPE plist SYSTEM "file://localhost/System/DTDs/PropertyList.dtd">${body}`],
    ['comments and instructions around and between', `<!-- a --><?b c?><plist><!---->${body}<!--z--></plist>`],
    ['attributes', `<plist version='1.0' a:b="c"><dict x = "y" >${body.slice(6)}</plist >`],
  ])('%s', (_name, document) => {
    expect(read(document)).toStrictEqual(idle);
  });

  test('strings are not trimmed, and keys are not either', () => {
    expect(read('<dict><key> a\n</key><string>\t b </string></dict>')).toStrictEqual(dict({ ' a\n': '\t b ' }));
  });
});

describe('values', () => {
  test.each<[string, PlistValue]>([
    ['<string/>', ''],
    ['<string></string>', ''],
    ['<string>&lt;&gt;&amp;&apos;&quot;</string>', `<>&'"`],
    ['<string>&amp;lt;</string>', '&lt;'],
    ['<string>&#65;&#x1F34E;&#x000041;</string>', 'A🍎A'],
    ['<string>a<![CDATA[<b>&amp;]]]>c</string>', 'a<b>&amp;]c'],
    ['<string><![CDATA[]]></string>', ''],
    ['<string>a<!-- b -->c<?d e?>f</string>', 'acf'],
    ['<string>a\r\nb\rc\n\rd&#13;</string>', 'a\nb\nc\n\nd\r'],
    ['<string>\u0085\u2028\u007f\ufffd</string>', '\u0085\u2028\u007f\ufffd'],
    ['<string>]] ></string>', ']] >'],
    ['<string x="1">a</string\n>', 'a'],
    ['<true/>', true],
    ['<true />', true],
    ['<false></false>', false],
    ['<true> <!-- so --> </true>', true],
    ['<integer>0</integer>', 0],
    ['<integer>-0</integer>', 0],
    ['<integer>+7</integer>', 7],
    ['<integer>\n 0042 </integer>', 42],
    ['<integer>0x1F</integer>', 31],
    ['<integer>-0xff</integer>', -255],
    ['<integer>9007199254740991</integer>', 9007199254740991],
    ['<integer>9007199254740992</integer>', 9007199254740992n],
    ['<integer>-9007199254740993</integer>', -9007199254740993n],
    ['<integer>18446744073709551615</integer>', 18446744073709551615n],
    ['<integer>0xFFFFFFFFFFFFFFFF</integer>', 18446744073709551615n],
    ['<integer>-9223372036854775808</integer>', -9223372036854775808n],
    [`<integer>${'0'.repeat(300)}9007199254740992</integer>`, 9007199254740992n],
    ['<real>1</real>', 1],
    ['<real>-1.5e-3</real>', -0.0015],
    ['<real>+.5</real>', 0.5],
    ['<real>5.</real>', 5],
    ['<real>-0.0</real>', -0],
    ['<real> 1E+2 </real>', 100],
    ['<real>nan</real>', Number.NaN],
    ['<real>NaN</real>', Number.NaN],
    ['<real>inf</real>', Number.POSITIVE_INFINITY],
    ['<real>+INF</real>', Number.POSITIVE_INFINITY],
    ['<real>-infinity</real>', Number.NEGATIVE_INFINITY],
    ['<date>2026-02-28T23:59:59Z</date>', new Date('2026-02-28T23:59:59Z')],
    ['<date>2024-02-29T00:00:00Z</date>', new Date('2024-02-29T00:00:00Z')],
    ['<date>0001-01-01T00:00:00Z</date>', new Date('0001-01-01T00:00:00Z')],
    ['<date>\t9999-12-31T23:59:59Z\n</date>', new Date('9999-12-31T23:59:59Z')],
    ['<data/>', Buffer.alloc(0)],
    ['<data> \n\t</data>', Buffer.alloc(0)],
    ['<data>AA==</data>', Buffer.from([0])],
    ['<data>A A\n= =</data>', Buffer.from([0])],
    ['<data>\r\n\t+/+/\r\n\tAAE=\r\n</data>', Buffer.from([0xfb, 0xff, 0xbf, 0, 1])],
    ['<data>&#65;A<!-- -->==</data>', Buffer.from([0])],
    ['<array/>', []],
    ['<array> </array>', []],
    ['<array><array/><dict/></array>', [[], createPlistDict()]],
    ['<dict><key/><true/></dict>', dict({ '': true })],
    ['<dict><key>a&amp;<![CDATA[b]]></key><true/></dict>', dict({ 'a&b': true })],
    ['<dict><key>12</key><true/><key>12</key><dict/></dict>', dict({ 12: createPlistDict() })],
  ])('%s', (document, value) => {
    expect(read(document)).toStrictEqual(value);
    expect(read(`<plist version="1.0"><array>${document}</array></plist>`)).toStrictEqual([value]);
  });

  test('keys that name parts of JavaScript objects are keys like others', () => {
    const value = read('<dict><key>__proto__</key><dict><key>x</key><true/></dict><key>toString</key><true/></dict>');
    if (!isPlistDict(value)) throw new Error('not a dict');
    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(Object.keys(value)).toStrictEqual(['__proto__', 'toString']);
    expect(value.x).toBeUndefined();
    expect(value.constructor).toBeUndefined();
    expect('x' in {}).toBe(false);
  });

  test('data is a copy: it does not change with the buffer it came in', () => {
    const document = Buffer.from('<data>AAAA</data>');
    const value = read(document);
    document.fill(0x42);
    expect(value).toStrictEqual(Buffer.alloc(3));
  });

  test('a view into a larger buffer is read within its bounds', () => {
    const larger = Buffer.from('xxxx<true/>yyyy');
    expect(read(new Uint8Array(larger.buffer, larger.byteOffset + 4, 7))).toBe(true);
  });
});

describe('what is refused', () => {
  test.each<[string, string | Uint8Array, ProtocolErrorCode]>([
    ['nothing', '', 'plist.syntax'],
    ['white space only', ' \n', 'plist.syntax'],
    ['a byte order mark only', '\ufeff', 'plist.syntax'],
    ['text', 'hello', 'plist.syntax'],
    ['JSON', '{"MessageType":"Authenticate"}', 'plist.syntax'],
    ['OpenStep', '{ MessageType = Authenticate; }', 'plist.syntax'],
    ['HTML', '<!DOCTYPE html><html></html>', 'plist.syntax'],
    ['an empty plist', '<plist/>', 'plist.syntax'],
    ['a plist of white space', '<plist> </plist>', 'plist.syntax'],
    ['two values', '<plist><true/><true/></plist>', 'plist.syntax'],
    ['a plist in a plist', '<plist><plist><true/></plist></plist>', 'plist.syntax'],
    ['a plist in an array', '<array><plist><true/></plist></array>', 'plist.syntax'],
    ['text in a plist', '<plist>a<true/></plist>', 'plist.syntax'],
    ['text behind the value', '<plist><true/>a</plist>', 'plist.syntax'],
    ['text in an array', '<array>a</array>', 'plist.syntax'],
    ['text in a dict', '<dict>a<key>a</key><true/></dict>', 'plist.syntax'],
    ['text between key and value', '<dict><key>a</key>b<true/></dict>', 'plist.syntax'],
    ['a reference between elements', '<array>&#32;</array>', 'plist.syntax'],
    ['CDATA between elements', '<array><![CDATA[ ]]></array>', 'plist.syntax'],
    ['a key without a value', '<dict><key>a</key></dict>', 'plist.syntax'],
    ['two keys in a row', '<dict><key>a</key><key>b</key><true/></dict>', 'plist.syntax'],
    ['a value without a key', '<dict><true/></dict>', 'plist.syntax'],
    ['two values in a row', '<dict><key>a</key><true/><true/></dict>', 'plist.syntax'],
    ['a key in an array', '<array><key>a</key></array>', 'plist.syntax'],
    ['a key as the root', '<key>a</key>', 'plist.syntax'],
    ['an unknown element', '<array><null/></array>', 'plist.syntax'],
    ['a longer name', '<strings>a</strings>', 'plist.syntax'],
    ['a shorter name', '<str>a</str>', 'plist.syntax'],
    ['a name in capitals', '<String>a</String>', 'plist.syntax'],
    ['a prefixed name', '<a:string>a</a:string>', 'plist.syntax'],
    ['space before the name', '< string>a</string>', 'plist.syntax'],
    ['the wrong closing tag', '<string>a</key>', 'plist.syntax'],
    ['a longer closing tag', '<string>a</strings>', 'plist.syntax'],
    ['space in a closing tag', '<string>a</ string>', 'plist.syntax'],
    ['a closing tag alone', '</dict>', 'plist.syntax'],
    ['containers closed in the wrong order', '<array><dict></array></dict>', 'plist.syntax'],
    ['an element in a string', '<string>a<b/></string>', 'plist.syntax'],
    ['an element in true', '<true><true/></true>', 'plist.syntax'],
    ['text in true', '<true>yes</true>', 'plist.syntax'],
    ['an attribute without quotes', '<string a=b>c</string>', 'plist.syntax'],
    ['an attribute without a value', '<string a>c</string>', 'plist.syntax'],
    ['attributes without space between', '<string a="b"c="d">e</string>', 'plist.syntax'],
    ['a slash that does not close', '<string/ >', 'plist.syntax'],
    ['a double hyphen in a comment', '<!-- a -- b --><true/>', 'plist.syntax'],
    ['three hyphens at the end of a comment', '<!-- a ---><true/>', 'plist.syntax'],
    ['a second XML declaration', '<?xml version="1.0"?><?xml version="1.0"?><true/>', 'plist.syntax'],
    ['an XML declaration behind a comment', '<!----><?xml version="1.0"?><true/>', 'plist.syntax'],
    ['an XML declaration inside', '<array><?XML version="1.0"?></array>', 'plist.syntax'],
    ['XML 1.1', '<?xml version="1.1"?><true/>', 'plist.syntax'],
    ['an XML declaration without a version', '<?xml encoding="UTF-8"?><true/>', 'plist.syntax'],
    ['an instruction without a name', '<? ?><true/>', 'plist.syntax'],
    ['an instruction without end', '<?a ><true/>', 'plist.syntax'],
    ['two DOCTYPEs', '<!DOCTYPE plist><!DOCTYPE plist><true/>', 'plist.syntax'],
    ['a DOCTYPE inside', '<plist><!DOCTYPE plist><true/></plist>', 'plist.syntax'],
    ['an internal subset', '<!DOCTYPE plist [<!ELEMENT plist ANY>]><true/>', 'plist.syntax'],
    ['an empty internal subset', '<!DOCTYPE plist []><true/>', 'plist.syntax'],
    ['a DOCTYPE without end', '<!DOCTYPE plist "><true/>', 'plist.syntax'],
    ['a custom entity (nanomdm §10 #86)', '<!DOCTYPE a [<!ENTITY x "y">]><string>&x;</string>', 'plist.syntax'],
    ['an undeclared entity', '<string>&nbsp;</string>', 'plist.syntax'],
    ['an entity named like a property', '<string>&constructor;</string>', 'plist.syntax'],
    ['an ampersand alone', '<string>a & b</string>', 'plist.syntax'],
    ['a reference without end', '<string>&amp</string>', 'plist.syntax'],
    ['an ampersand in a key', '<dict><key>&</key><true/></dict>', 'plist.syntax'],
    ['a reference to zero', '<string>&#0;</string>', 'plist.syntax'],
    ['a reference to a control character', '<string>&#x1B;</string>', 'plist.syntax'],
    ['a reference to a surrogate', '<string>&#xD800;</string>', 'plist.syntax'],
    ['a reference to no character', '<string>&#xFFFE;</string>', 'plist.syntax'],
    ['a reference beyond Unicode', '<string>&#x110000;</string>', 'plist.syntax'],
    ['a reference with a capital X', '<string>&#X41;</string>', 'plist.syntax'],
    ['an empty reference', '<string>&#;</string>', 'plist.syntax'],
    ['a signed reference', '<string>&#-65;</string>', 'plist.syntax'],
    ['the end of CDATA in text', '<string>]]></string>', 'plist.syntax'],
    ['a zero byte in a string', '<string>a\u0000b</string>', 'plist.syntax'],
    ['a control character in a comment', '<!--\u0001--><true/>', 'plist.syntax'],
    ['U+FFFE', '<string>\ufffe</string>', 'plist.syntax'],
    ['a no-break space around a number', '<integer>\u00a01</integer>', 'plist.syntax'],
    ['an empty integer', '<integer/>', 'plist.syntax'],
    ['letters behind an integer', '<integer>12abc</integer>', 'plist.syntax'],
    ['an integer with a point', '<integer>1.0</integer>', 'plist.syntax'],
    ['an integer with an exponent', '<integer>1e3</integer>', 'plist.syntax'],
    ['two signs', '<integer>--1</integer>', 'plist.syntax'],
    ['space behind a sign', '<integer>- 1</integer>', 'plist.syntax'],
    ['hex without digits', '<integer>0x</integer>', 'plist.syntax'],
    ['octal', '<integer>0o17</integer>', 'plist.syntax'],
    ['an integer beyond 64 bits', '<integer>18446744073709551616</integer>', 'plist.syntax'],
    ['a negative integer beyond 64 bits', '<integer>-9223372036854775809</integer>', 'plist.syntax'],
    ['Arabic digits', '<integer>١</integer>', 'plist.syntax'],
    ['an empty real', '<real></real>', 'plist.syntax'],
    ['a real with a comma', '<real>1,5</real>', 'plist.syntax'],
    ['a real of a point', '<real>.</real>', 'plist.syntax'],
    ['a hex real', '<real>0x10</real>', 'plist.syntax'],
    ['a real beyond double', '<real>1e999</real>', 'plist.syntax'],
    ['an empty date', '<date/>', 'plist.syntax'],
    ['a day that does not exist', '<date>2026-02-29T00:00:00Z</date>', 'plist.syntax'],
    ['hour 24', '<date>2026-01-01T24:00:00Z</date>', 'plist.syntax'],
    ['second 60', '<date>2026-01-01T00:00:60Z</date>', 'plist.syntax'],
    ['a date without a zone', '<date>2026-01-01T00:00:00</date>', 'plist.syntax'],
    ['a date with an offset', '<date>2026-01-01T00:00:00+01:00</date>', 'plist.syntax'],
    ['a date with a fraction', '<date>2026-01-01T00:00:00.5Z</date>', 'plist.syntax'],
    ['a date without a time', '<date>2026-01-01</date>', 'plist.syntax'],
    ['a year of five digits', '<date>12026-01-01T00:00:00Z</date>', 'plist.syntax'],
    ['base64 without padding', '<data>AA</data>', 'plist.syntax'],
    ['one base64 digit', '<data>A</data>', 'plist.syntax'],
    ['five base64 digits', '<data>AAAAA</data>', 'plist.syntax'],
    ['too much padding', '<data>AAAA====</data>', 'plist.syntax'],
    ['three signs of padding', '<data>A===</data>', 'plist.syntax'],
    ['padding inside', '<data>AA==AA==</data>', 'plist.syntax'],
    ['a digit behind padding', '<data>AA=A</data>', 'plist.syntax'],
    ['base64 of the URL kind', '<data>-_-_</data>', 'plist.syntax'],
    ['no base64 at all', '<data>AA*=</data>', 'plist.syntax'],
    ['a letter that is no base64', '<data>AAAé</data>', 'plist.syntax'],
    ['ISO-8859-1 (nanomdm §10 #86)', '<?xml version="1.0" encoding="ISO-8859-1"?><true/>', 'plist.encoding'],
    ['UTF-16 declared', '<?xml version="1.0" encoding="UTF-16"?><true/>', 'plist.encoding'],
    ['no encoding declared', '<?xml version="1.0" encoding=""?><true/>', 'plist.encoding'],
    ['UTF-16 with a byte order mark', Buffer.from('\ufeff<true/>', 'utf16le'), 'plist.encoding'],
    ['UTF-16 without a byte order mark', Buffer.from('<true/>', 'utf16le'), 'plist.syntax'],
    ['ISO-8859-1 undeclared', Buffer.from('<string>é</string>', 'latin1'), 'plist.encoding'],
    ['overlong UTF-8', Buffer.from('3c737472696e673ec0af3c2f737472696e673e', 'hex'), 'plist.encoding'],
    ['a surrogate in UTF-8', Buffer.from('3c737472696e673eeda0803c2f737472696e673e', 'hex'), 'plist.encoding'],
    ['UTF-8 cut short', Buffer.from('3c737472696e673ee282', 'hex'), 'plist.encoding'],
  ])('%s', (_name, document, code) => {
    expect(refusal(document).code).toBe(code);
  });

  test('everything unterminated', () => {
    const complete =
      '<?xml version="1.0"?><!DOCTYPE plist PUBLIC "a" "b"><plist version="1.0"><!-- c --><dict><key>a</key>'.concat(
        '<array><string>b&amp;<![CDATA[c]]></string><data>AAAA</data><true/></array></dict></plist>',
      );
    expect(readPlist(Buffer.from(complete)).ok).toBe(true);
    for (let length = 0; length < complete.length; length += 1) {
      expect(refusal(complete.slice(0, length)).code).toBe('plist.syntax');
    }
  });
});

describe('where an error is', () => {
  test.each<[string, string, number]>([
    ['a character', '<string>&nope;</string>', 8],
    ['behind characters of several bytes', '<string>é🍎&nope;</string>', 14],
    ['behind a byte order mark', '\ufeff<array>x</array>', 10],
    ['behind line endings of two bytes', '<array>\r\n\r\n\r x</array>', 13],
    ['a forbidden character', '<string>\r\nab\u0002</string>', 12],
    ['the end', '<array>', 7],
  ])('%s', (_name, document, offset) => {
    expect(refusal(document).offset).toBe(offset);
  });

  test('bytes that are not UTF-8, replacement characters before them', () => {
    const document = Buffer.concat([Buffer.from('<string>\ufffdé\ufffd'), Buffer.from([0xff, 0x41])]);
    expect(refusal(document)).toStrictEqual({ code: 'plist.encoding', offset: 16 });
    const likeReplacement = Buffer.from('3c737472696e673eefbf41', 'hex');
    expect(refusal(likeReplacement)).toStrictEqual({ code: 'plist.encoding', offset: 8 });
  });

  test('the message does not repeat what was sent', () => {
    const result = readPlist(Buffer.from('<integer>secret</integer>'));
    expect(result.ok ? '' : result.error.message).not.toContain('secret');
    expect(result.ok ? 0 : result.error.status).toBe(400);
  });
});
