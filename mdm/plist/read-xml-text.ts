import { isXmlCharacter } from './xml-characters.ts';
import type { XmlCursor } from './xml-cursor.ts';

const PREDEFINED: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

/** `&#x10FFFF;` with a few leading zeros; what is longer is no reference anyone writes. */
const MAX_REFERENCE_LENGTH = 16;

/** Pieces are joined in runs of this many: one by one, the string would keep a node of its own for each. */
const PIECES_PER_RUN = 4096;

function expandReference(name: string): string | undefined {
  if (!name.startsWith('#')) return PREDEFINED.get(name);
  const isHex = name.startsWith('#x');
  const digits = name.slice(isHex ? 2 : 1);
  if (!(isHex ? /^[0-9a-fA-F]+$/ : /^[0-9]+$/).test(digits)) return undefined;
  const code = Number.parseInt(digits, isHex ? 16 : 10);
  return isXmlCharacter(code) ? String.fromCodePoint(code) : undefined;
}

function decodeCharacters(cursor: XmlCursor, start: number, end: number): string {
  const text = cursor.text.slice(start, end);
  const cdataEnd = text.indexOf(']]>');
  if (cdataEnd !== -1) cursor.refuse('plist.syntax', '"]]>" outside CDATA', start + cdataEnd);
  let decoded = '';
  let pieces: string[] = [];
  let at = 0;
  for (let amp = text.indexOf('&'); amp !== -1; amp = text.indexOf('&', at)) {
    // Only this far: searching on for a semicolon that never comes would cost quadratic time.
    const reference = text.slice(amp + 1, amp + MAX_REFERENCE_LENGTH);
    const length = reference.indexOf(';');
    const expanded = length === -1 ? undefined : expandReference(reference.slice(0, length));
    if (expanded === undefined) cursor.refuse('plist.syntax', 'unknown or malformed reference', start + amp);
    pieces.push(text.slice(at, amp), expanded);
    at = amp + length + 2;
    if (pieces.length >= PIECES_PER_RUN) {
      decoded += pieces.join('');
      pieces = [];
    }
  }
  return decoded + pieces.join('') + text.slice(at);
}

/** At `<!` or `<?` inside text: the characters that the markup stands for. */
function takeMarkupInText(cursor: XmlCursor): string {
  const start = cursor.pos;
  if (cursor.text.startsWith('<!--', start)) {
    cursor.skipComment();
    return '';
  }
  if (cursor.text.startsWith('<?', start)) {
    cursor.skipInstruction();
    return '';
  }
  if (!cursor.text.startsWith('<![CDATA[', start)) cursor.refuse('plist.syntax', 'unexpected markup in text');
  const end = cursor.text.indexOf(']]>', start + 9);
  if (end === -1) cursor.refuse('plist.syntax', 'CDATA is not closed');
  cursor.pos = end + 3;
  return cursor.text.slice(start + 9, end);
}

/** Behind the opening tag of `name`: its text up to and including its closing tag. An element inside is refused. */
export function takeText(cursor: XmlCursor, name: string): string {
  let taken = '';
  for (;;) {
    const start = cursor.pos;
    const end = cursor.text.indexOf('<', start);
    if (end === -1) cursor.refuse('plist.syntax', `<${name}> is not closed`);
    const piece = cursor.needsDecoding(start, end)
      ? decodeCharacters(cursor, start, end)
      : cursor.text.slice(start, end);
    cursor.pos = end;
    const next = cursor.text.charCodeAt(end + 1);
    if (next === 0x2f) {
      cursor.takeCloseTag(name);
      return taken === '' ? piece : taken + piece;
    }
    if (next !== 0x21 && next !== 0x3f) cursor.refuse('plist.syntax', `element inside <${name}>`);
    taken += piece + takeMarkupInText(cursor);
  }
}
