import fc from 'fast-check';
import { buildBinary } from 'plist';
import { describe, expect, test } from 'vitest';
import { ProtocolError } from '../../../mdm/errors.ts';
import { DEFAULT_PLIST_LIMITS, type PlistLimits } from '../../../mdm/plist/limits.ts';
import { readPlist } from '../../../mdm/plist/read-plist.ts';
import { isPlistDict, type PlistValue } from '../../../mdm/plist/value.ts';
import { writePlist } from '../../../mdm/plist/write-plist.ts';
import { binaryLaughs, binaryPlist } from './binary-plist.ts';
import { AUTHENTICATE, DEVICE_INFORMATION, installedApplicationList, TOKEN_UPDATE } from './samples.ts';

function outcome(document: string | Uint8Array, limits?: Partial<PlistLimits>): string {
  const result = readPlist(typeof document === 'string' ? Buffer.from(document) : document, limits);
  return result.ok ? 'read' : `${result.error.code}: ${result.error.message}`;
}

describe('limits of XML plists', () => {
  test('depth: 64 containers and no more, empty ones included', () => {
    const nested = (depth: number): string => `${'<array>'.repeat(depth)}${'</array>'.repeat(depth)}`;
    expect(outcome(nested(64))).toBe('read');
    expect(outcome(nested(65))).toBe('plist.limit: nested deeper than 64');
    expect(outcome(`${'<array>'.repeat(64)}<dict/>${'</array>'.repeat(64)}`)).toBe(
      'plist.limit: nested deeper than 64',
    );
    expect(outcome(nested(5), { maxDepth: 4 })).toBe('plist.limit: nested deeper than 4');
  });

  test('100,000 containers inside each other', () => {
    expect(outcome('<array>'.repeat(100_000))).toBe('plist.limit: nested deeper than 64');
    expect(outcome('<dict><key>a</key>'.repeat(100_000))).toBe('plist.limit: nested deeper than 64');
    const document = `${'<array>'.repeat(100_000)}${'</array>'.repeat(100_000)}`;
    expect(outcome(document, { maxDepth: 100_000 })).toBe('read');
  });

  test('values: containers count, keys do not', () => {
    const list = '<array><true/><dict><key>a</key><true/></dict></array>';
    expect(outcome(list, { maxNodes: 4 })).toBe('read');
    expect(outcome(list, { maxNodes: 3 })).toBe('plist.limit: more than 3 values');
    expect(outcome(`<array>${'<true/>'.repeat(1_000_000)}</array>`)).toBe('plist.limit: more than 1000000 values');
  });

  test('length of keys, as they read', () => {
    const document = '<dict><key>&amp;&amp;</key><true/></dict>';
    expect(outcome(document, { maxKeyLength: 2 })).toBe('read');
    expect(outcome(document, { maxKeyLength: 1 })).toBe('plist.limit: key longer than 1');
  });

  test('bytes', () => {
    expect(outcome('<true/>', { maxBytes: 7 })).toBe('read');
    expect(outcome('<true/> ', { maxBytes: 7 })).toBe('plist.limit: larger than 7 bytes');
    const result = readPlist(Buffer.alloc(DEFAULT_PLIST_LIMITS.maxBytes + 1));
    expect(result.ok ? 0 : result.error.status).toBe(413);
  });
});

describe('entity bombs', () => {
  test.each([
    ['internal', '<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">'],
    ['external', '<!ENTITY a SYSTEM "file:///etc/hostname">'],
    ['parameter', '<!ENTITY % a SYSTEM "http://127.0.0.1/x.dtd"> %a;'],
  ])('%s entities are refused before anything is expanded or fetched', (_name, subset) => {
    const document = `<?xml version="1.0"?><!DOCTYPE plist [${subset}]><plist><string>&a;</string></plist>`;
    expect(outcome(document)).toBe('plist.syntax: internal DTD subset');
  });
});

/**
 * Documents of some MB that make a careless reader take quadratic time or far more memory than their size. Nothing is
 * measured here: quadratic time would run into the test's time limit.
 */
describe('megabytes of one thing', () => {
  const SIZE = 6_000_000;
  const filled = (unit: string, before = '', after = ''): string =>
    before + unit.repeat(Math.floor(SIZE / unit.length)) + after;
  test.each<[string, string, string]>([
    ['opening brackets', filled('<'), 'plist.syntax'],
    ['opening tags', filled('<string>'), 'plist.syntax'],
    ['tags without end', filled('<a '), 'plist.syntax'],
    ['white space', filled(' '), 'plist.syntax'],
    ['ampersands', filled('&', '<string>', '</string>'), 'plist.syntax'],
    ['references', filled('&amp;', '<string>', '</string>'), 'read'],
    ['ampersand and brackets', filled('<string>&amp;</string>', '<array>', '</array>'), 'read'],
    ['comments', filled('<!---->', '<string>', '</string>'), 'read'],
    ['comments that are not closed', filled('<!-- a '), 'plist.syntax'],
    ['CDATA', filled('<![CDATA[x]]>', '<string>', '</string>'), 'read'],
    ['CDATA openings', filled('<![CDATA[', '<string>', '</string>'), 'plist.syntax'],
    ['returns', filled('\r', '<string>', '</string>'), 'read'],
    ['instructions', filled('<?a?>', '<dict>', '</dict>'), 'read'],
    ['quotes in a DOCTYPE', filled('"', '<!DOCTYPE plist ', '><true/>'), 'read'],
    ['attributes', filled(' a="b"', '<dict', '/>'), 'plist.syntax'],
    ['spaces in an XML declaration', filled(' ', '<?xml'), 'plist.syntax'],
    ['digits of an integer', filled('9', '<integer>', '</integer>'), 'plist.syntax'],
    ['zeros before an integer', filled('0', '<integer>', '1</integer>'), 'plist.syntax'],
    ['digits of a real', filled('9', '<real>', '</real>'), 'plist.syntax'],
    ['spaces around a number', filled(' ', '<integer>', '</integer>'), 'plist.syntax'],
    ['base64', filled('QUFB', '<data>', '*</data>'), 'plist.syntax'],
    ['spaced base64', filled('Q U F B\n', '<data>', '</data>'), 'read'],
    ['padding', filled('=', '<data>', '</data>'), 'plist.syntax'],
    ['a key', filled('k', '<dict><key>', '</key><true/></dict>'), 'plist.limit'],
    ['one key again and again', filled('<key>a</key><true/>', '<dict>', '</dict>'), 'read'],
    ['empty dicts', filled('<dict/>', '<array>', '</array>'), 'read'],
  ])('%s', (_name, document, code) => {
    expect(outcome(document).split(':')[0]).toBe(code);
  });

  test('dicts with a key like an array index take no more memory than others', () => {
    const count = 50_000;
    const document = Buffer.from(`<array>${'<dict><key>1023</key><true/></dict>'.repeat(count)}</array>`);
    const before = process.memoryUsage().heapUsed;
    const result = readPlist(document);
    const grown = process.memoryUsage().heapUsed - before;
    expect(result.ok && Array.isArray(result.value) && result.value.length).toBe(count);
    // 0.4 KB each; as array elements they would take 12 KB each, 600 MB together.
    expect(grown).toBeLessThan(200_000_000);
  });
});

const LIMITS: Partial<PlistLimits> = { maxNodes: 400, maxDepth: 8, maxKeyLength: 60, maxBytes: 60_000 };

/** Values and depth of what was read. */
function measure(value: PlistValue): { nodes: number; depth: number } {
  if (!Array.isArray(value) && !isPlistDict(value)) return { nodes: 1, depth: 0 };
  let nodes = 1;
  let depth = 0;
  for (const member of Object.values(value)) {
    const inner = measure(member);
    nodes += inner.nodes;
    depth = Math.max(depth, inner.depth);
  }
  return { nodes, depth: depth + 1 };
}

/** What must hold of any bytes at all. */
function checkPromises(document: Uint8Array, limits?: Partial<PlistLimits>): void {
  const before = Buffer.from(document);
  const result = readPlist(document, limits);
  expect(before.equals(document)).toBe(true);
  if (!result.ok) {
    expect(result.error).toBeInstanceOf(ProtocolError);
    expect(['plist.syntax', 'plist.encoding', 'plist.limit']).toContain(result.error.code);
    const offset = result.error.offset ?? 0;
    expect(Number.isInteger(offset) && offset >= 0 && offset <= document.length).toBe(true);
    return;
  }
  const { nodes, depth } = measure(result.value);
  expect(nodes).toBeLessThanOrEqual(limits?.maxNodes ?? DEFAULT_PLIST_LIMITS.maxNodes);
  expect(depth).toBeLessThanOrEqual(limits?.maxDepth ?? DEFAULT_PLIST_LIMITS.maxDepth);
  // Whatever is read can be written, and reads the same from there on.
  const written = writePlist(result.value);
  const again = readPlist(written);
  expect(again.ok && writePlist(again.value).equals(written)).toBe(true);
}

const FRAGMENTS = [
  ...['<dict>', '</dict>', '<array>', '</array>', '<key>', '</key>', '<string>', '</string>', '<integer>', '<real>'],
  ...[
    '<date>',
    '<data>',
    '<true/>',
    '<plist>',
    '</plist>',
    '<!--',
    '-->',
    '<![CDATA[',
    ']]>',
    '<?',
    '?>',
    '<!DOCTYPE',
    '[',
  ],
  ...[
    '&',
    '&#',
    '&#x',
    '&amp;',
    ';',
    '<',
    '>',
    '/',
    '"',
    "'",
    '=',
    '\u0000',
    '\r\n',
    '\ufeff',
    '\ufffe',
    '__proto__',
    '1023',
  ],
].map((text) => Buffer.from(text));

interface Mutation {
  readonly at: number;
  readonly remove: number;
  readonly insert: Uint8Array;
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.oneof(fc.nat(3), fc.nat(200)),
  insert: fc.oneof(fc.constantFrom(...FRAGMENTS), fc.uint8Array({ maxLength: 4 })),
});

function mutate(document: Uint8Array, mutations: readonly Mutation[]): Buffer {
  let bytes = Buffer.from(document);
  for (const { at, remove, insert } of mutations) {
    const index = Math.floor(at * bytes.length);
    bytes = Buffer.concat([bytes.subarray(0, index), insert, bytes.subarray(index + remove)]);
  }
  return bytes;
}

describe('whatever the bytes: a value within the limits or a typed error, never an exception', () => {
  const xml = [AUTHENTICATE, TOKEN_UPDATE, DEVICE_INFORMATION, installedApplicationList(3)];
  const binary = [
    Buffer.from(buildBinary({ MessageType: 'TokenUpdate', Token: new Uint8Array(40), List: [1, -1, 2.5, 'é', true] })),
    Buffer.from(buildBinary([{ When: new Date(0), Long: 'x'.repeat(300) }, { Deep: [[[['y']]]] }, 2 ** 40])),
    binaryLaughs(7, 10),
    binaryPlist([
      [0xa2, 0, 1],
      [0xd1, 2, 0],
      [0x51, 0x61],
    ]),
  ];

  test('the samples themselves', () => {
    for (const document of [...xml, ...binary]) checkPromises(document);
  });

  test.each([
    ['XML', xml],
    ['binary', binary],
  ])('mutated %s plists', (_name, documents) => {
    const document = fc.constantFrom(...documents);
    const mutations = fc.array(mutation, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(document, mutations, fc.boolean(), (original, changes, isTight) => {
        checkPromises(mutate(original, changes), isTight ? LIMITS : undefined);
      }),
      { numRuns: 4000 },
    );
  });

  test('every byte of a binary plist changed, every length', () => {
    for (const document of binary) {
      for (let at = 0; at < document.length; at += 1) {
        checkPromises(document.subarray(0, at));
        for (const value of [0x00, 0x0f, 0x13, 0x5f, 0x7f, 0x80, 0xa1, 0xd1, 0xff]) {
          const changed = Buffer.from(document);
          changed[at] = value;
          checkPromises(changed, LIMITS);
        }
      }
    }
  });

  test('fragments in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...FRAGMENTS), { maxLength: 30 }), (parts) => {
        checkPromises(Buffer.concat(parts), LIMITS);
      }),
      { numRuns: 3000 },
    );
  });

  test('random bytes, with and without the magic', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom('', 'bplist00', '<plist>'), (bytes, magic) => {
        checkPromises(Buffer.concat([Buffer.from(magic), bytes]));
      }),
      { numRuns: 3000 },
    );
  });
});
