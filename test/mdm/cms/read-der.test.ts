import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DerNode, type DerOptions, readDer } from '../../../mdm/cms/read-der.ts';
import { writeElement } from '../../../mdm/cms/write-der.ts';
import { makeIdentity } from '../certificates/make-certificate.ts';

const read = (hex: string, encoding: DerOptions['encoding'] = 'der') =>
  readDer(Buffer.from(hex.replaceAll(' ', ''), 'hex'), { encoding });

const codeOf = (hex: string, encoding: DerOptions['encoding'] = 'der'): string => {
  const result = read(hex, encoding);
  return result.ok ? 'ok' : result.error.code;
};

/** Walks everything, as a reader that asks for every node would. */
function countNodes(node: DerNode): number {
  expect(node.start).toBeLessThan(node.end);
  expect(node.contentStart).toBeLessThanOrEqual(node.contentEnd);
  expect(node.contentEnd).toBeLessThanOrEqual(node.end);
  return node.children.reduce((count, child) => count + countNodes(child), 1);
}

describe('readDer', () => {
  test('gives tags, contents and raw bytes of nested elements', () => {
    const result = read('30 08 02 01 05 04 03 61 62 63');
    if (!result.ok) throw result.error;
    const [number, text] = result.value.children;
    expect(number?.content.toString('hex')).toBe('05');
    expect(text?.content.toString('latin1')).toBe('abc');
    expect(text?.raw.toString('hex')).toBe('0403616263');
    expect(result.value.raw).toHaveLength(10);
  });

  test.each([
    ['nothing at all', ''],
    ['only a tag', '30'],
    ['a length that runs off the end', '04 05 61'],
    ['an element longer than its parent', '30 03 04 05 61 62 63'],
    ['a byte after the end', '04 01 61 00'],
    ['a length of length that is cut off', '04 82 01'],
    ['a reserved length', '04 ff 61'],
    ['an end of contents outside of indefinite length', '30 02 00 00'],
    ['a tag number above 30', '1f 81 01 00'],
    ['a primitive sequence', '10 00'],
  ])('refuses %s in BER and DER', (_what, hex) => {
    expect(codeOf(hex, 'der')).toBe('der.syntax');
    expect(codeOf(hex, 'ber')).toBe('der.syntax');
  });

  test.each([
    ['an indefinite length', '30 80 02 01 05 00 00'],
    ['a long form where the short one does', '04 81 01 61'],
    ['a length with leading zeros', `04 82 00 80 ${'61'.repeat(128)}`],
    ['a string in pieces', '24 03 04 01 61'],
  ])('accepts %s in BER only', (_what, hex) => {
    expect(codeOf(hex, 'ber')).toBe('ok');
    expect(codeOf(hex, 'der')).toBe('der.syntax');
  });

  test.each([
    ['a primitive element of indefinite length', '04 80 00 00'],
    ['a missing end of contents', '30 80 02 01 05'],
    ['an end of contents cut in half', '30 80 02 01 05 00'],
    ['an end of contents beyond the parent', '30 04 30 80 02 00 00 00'],
    ['an integer in pieces', '22 03 02 01 05'],
  ])('refuses %s in BER', (_what, hex) => {
    expect(codeOf(hex, 'ber')).toBe('der.syntax');
  });

  test('finds the right end among nested indefinite lengths and zero bytes in contents', () => {
    const result = read('30 80 30 80 04 02 00 00 00 00 24 80 04 01 00 00 00 02 01 00 00 00', 'ber');
    if (!result.ok) throw result.error;
    expect(result.value.children.map((child) => child.raw.toString('hex'))).toEqual([
      '30800402000000' + '00',
      '2480040100' + '0000',
      '020100',
    ]);
  });

  test('nests 64 deep and not deeper', () => {
    const nested = (depth: number): Buffer =>
      Array.from({ length: depth - 1 }).reduce<Buffer>((inner) => writeElement(0x30, inner), writeElement(0x30));
    expect(readDer(nested(64), { encoding: 'der' }).ok).toBe(true);
    const tooDeep = readDer(nested(65), { encoding: 'der' });
    expect(tooDeep).toMatchObject({ ok: false, error: { code: 'der.limit' } });
    const bomb = Buffer.concat([Buffer.alloc(200_000, Buffer.of(0x30, 0x80))]);
    expect(readDer(bomb, { encoding: 'ber' })).toMatchObject({ ok: false, error: { code: 'der.limit' } });
  });

  test('refuses more elements than the limit, and lengths of more than four bytes', () => {
    const many = writeElement(0x30, Buffer.alloc(2 * 9000, Buffer.of(0x05, 0x00)));
    expect(readDer(many, { encoding: 'der' })).toMatchObject({ ok: false, error: { code: 'der.limit' } });
    expect(readDer(many, { encoding: 'der', maxNodes: 10_000 }).ok).toBe(true);
    expect(codeOf('04 85 00 00 00 00 01 61', 'ber')).toBe('der.syntax');
  });

  test('a real certificate reads, and no truncation of it does', async () => {
    const { der } = await makeIdentity();
    const result = readDer(der, { encoding: 'der' });
    if (!result.ok) throw result.error;
    expect(countNodes(result.value)).toBeGreaterThan(30);
    for (let length = 0; length < der.length; length += 1) {
      expect(readDer(der.subarray(0, length), { encoding: 'ber' }).ok).toBe(false);
    }
  });

  test('no bytes make it throw, and what it accepts can be walked within its bounds', () => {
    const plausible = fc.array(
      fc.oneof(
        fc.constantFrom(0x30, 0x31, 0x24, 0x04, 0x02, 0xa0, 0x80, 0x00, 0x81, 0x82),
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 0, max: 255 }),
      ),
      { maxLength: 60 },
    );
    let accepted = 0;
    fc.assert(
      fc.property(plausible, fc.constantFrom<DerOptions['encoding']>('ber', 'der'), (bytes, encoding) => {
        const result = readDer(Uint8Array.from(bytes), { encoding });
        if (!result.ok) {
          expect(result.error.code).toMatch(/^der\./);
          return;
        }
        accepted += 1;
        expect(result.value.end).toBe(bytes.length);
        countNodes(result.value);
      }),
      { numRuns: 20_000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });

  test('what is written reads back the same, whatever the nesting', () => {
    interface Tree {
      tag: number;
      bytes?: Uint8Array;
      inside?: Tree[];
    }
    const { tree } = fc.letrec<{ tree: Tree; leaf: Tree; branch: Tree }>((tie) => ({
      tree: fc.oneof({ maxDepth: 5 }, tie('leaf'), tie('branch')),
      leaf: fc.record({ tag: fc.constantFrom(2, 4, 12, 0x80), bytes: fc.uint8Array({ maxLength: 300 }) }),
      branch: fc.record({
        tag: fc.constantFrom(0x30, 0x31, 0xa0, 0xa3),
        inside: fc.array(tie('tree'), { maxLength: 5 }),
      }),
    }));
    const write = (value: Tree): Buffer =>
      writeElement(value.tag, ...(value.inside?.map(write) ?? [value.bytes ?? Buffer.of()]));
    const same = (value: Tree, node: DerNode | undefined): void => {
      expect(node?.tag).toBe(value.tag);
      if (value.bytes) expect(node?.content.equals(value.bytes)).toBe(true);
      expect(node?.children).toHaveLength(value.inside?.length ?? 0);
      value.inside?.forEach((child, index) => {
        same(child, node?.children[index]);
      });
    };
    fc.assert(
      fc.property(tree, (value) => {
        const result = readDer(write(value), { encoding: 'der' });
        if (!result.ok) throw result.error;
        same(value, result.value);
      }),
      { numRuns: 300 },
    );
  });
});
