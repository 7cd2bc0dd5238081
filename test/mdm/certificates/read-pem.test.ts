import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readPem, writePem } from '../../../mdm/certificates/read-pem.ts';

const block = (body: string, label = 'X'): string => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;

describe('readPem', () => {
  test('what is written reads back, several blocks with text around them included', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 4 }), (contents) => {
        const text = contents.map((bytes) => `some text\n${writePem('CERTIFICATE', bytes)}`).join('');
        const blocks = readPem(text);
        expect(blocks?.map((entry) => [...entry.bytes])).toEqual(contents.map((bytes) => [...bytes]));
      }),
    );
  });

  test('headers are set apart from the content', () => {
    expect(readPem(block('Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA'))).toEqual([
      { label: 'X', headers: ['Proc-Type: 4,ENCRYPTED', 'DEK-Info: AES-128-CBC,00'], bytes: Buffer.alloc(3) },
    ]);
  });

  test('blocks glued together, and only as many as are asked for', () => {
    const glued = block('AAAA').trimEnd() + block('AQEB', 'Y');
    expect(readPem(glued)?.map((entry) => entry.label)).toEqual(['X', 'Y']);
    expect(readPem(`${glued}-----BEGIN Z-----`)).toBeUndefined();
    expect(readPem(`${glued}-----BEGIN Z-----`, 2)).toHaveLength(2);
  });

  test.each([
    ['no end', '-----BEGIN X-----\nAAAA\n'],
    ['another end', '-----BEGIN X-----\nAAAA\n-----END Y-----\n'],
    ['no content', block('')],
    ['URL-safe base64', block('__--')],
    ['unpadded base64', block('AAA')],
    ['padding in the middle', block('AA==\nAAAA')],
    ['other characters', block('AA*AA')],
    ['bits beyond the end', block('AB==')],
    ['an endless label', block('AAAA', 'X'.repeat(65))],
    ['a label with a newline', block('AAAA', 'X\nY')],
  ])('%s is refused', (_what, text) => {
    expect(readPem(text)).toBeUndefined();
  });

  test('nothing at all is no block', () => {
    expect(readPem('')).toEqual([]);
    expect(readPem('-----END X-----')).toEqual([]);
  });

  test('many beginnings without an end take no longer than they should', () => {
    // Quadratic reading of this would take minutes.
    expect(readPem('-----BEGIN A-----'.repeat(100_000))).toBeUndefined();
  });
});
