import { ProtocolError, type ProtocolErrorCode } from '../errors.ts';
import { isXmlSpace } from './xml-characters.ts';

/** Remembers where a needle is next, so that asking for every element in turn reads the document once, not once each. */
class NextOccurrence {
  private readonly text: string;
  private readonly needle: string;
  private at = -1;

  constructor(text: string, needle: string) {
    this.text = text;
    this.needle = needle;
  }

  isWithin(start: number, end: number): boolean {
    if (this.at < start) {
      const found = this.text.indexOf(this.needle, start);
      this.at = found === -1 ? this.text.length : found;
    }
    return this.at < end;
  }
}

const LESS_THAN = 0x3c;
const SLASH = 0x2f;
const GREATER_THAN = 0x3e;

const ATTRIBUTES = /^(?:[ \t\r\n]+[A-Za-z_:][-A-Za-z0-9_.:]*[ \t\r\n]*=[ \t\r\n]*(?:"[^"<]*"|'[^'<]*'))*[ \t\r\n]*$/;
const MAX_ATTRIBUTES_LENGTH = 1024;

/** A position in an XML document, and the markup that can be anywhere in it. Every method moves forward or refuses. */
export class XmlCursor {
  readonly text: string;
  pos: number;
  private readonly toByteOffset: (at: number) => number;
  private readonly ampersands: NextOccurrence;
  private readonly cdataEnds: NextOccurrence;

  /** `toByteOffset`: where in the bytes that came in a character of `text` is; for errors. */
  constructor(text: string, pos: number, toByteOffset: (at: number) => number) {
    this.text = text;
    this.pos = pos;
    this.toByteOffset = toByteOffset;
    this.ampersands = new NextOccurrence(text, '&');
    this.cdataEnds = new NextOccurrence(text, ']]>');
  }

  /** @throws ProtocolError always, with the byte offset of the character at `at`. */
  refuse(code: ProtocolErrorCode, message: string, at: number = this.pos): never {
    throw new ProtocolError(code, message, this.toByteOffset(at));
  }

  skipSpace(): void {
    while (isXmlSpace(this.text.charCodeAt(this.pos))) this.pos += 1;
  }

  /** Skips white space, comments and processing instructions. */
  skipMisc(): void {
    for (;;) {
      this.skipSpace();
      if (this.text.charCodeAt(this.pos) !== LESS_THAN) return;
      const next = this.text.charCodeAt(this.pos + 1);
      if (next === 0x21 && this.text.startsWith('<!--', this.pos)) this.skipComment();
      else if (next === 0x3f) this.skipInstruction();
      else return;
    }
  }

  /** At `<!--`. A double hyphen inside is not well-formed (XML 1.0 §2.5). */
  skipComment(): void {
    const end = this.text.indexOf('--', this.pos + 4);
    if (end === -1) this.refuse('plist.syntax', 'comment is not closed');
    if (this.text.charCodeAt(end + 2) !== GREATER_THAN) this.refuse('plist.syntax', 'double hyphen in a comment', end);
    this.pos = end + 3;
  }

  /** At `<?`. A second XML declaration, or one that is not in first place, is refused. */
  skipInstruction(): void {
    const target = /^[A-Za-z_:][-A-Za-z0-9_.:]*/.exec(this.text.slice(this.pos + 2, this.pos + 66))?.[0];
    if (target === undefined) this.refuse('plist.syntax', 'processing instruction without a name');
    if (target.toLowerCase() === 'xml') this.refuse('plist.syntax', 'XML declaration is not in first place');
    const end = this.text.indexOf('?>', this.pos + 2);
    if (end === -1) this.refuse('plist.syntax', 'processing instruction is not closed');
    this.pos = end + 2;
  }

  /**
   * The rest of an opening tag, `pos` being behind its name: `>`, `/>`, or attributes (which mean nothing in a plist)
   * and then one of these. Gives whether the element is already closed.
   */
  finishOpenTag(): boolean {
    const code = this.text.charCodeAt(this.pos);
    if (code === GREATER_THAN) {
      this.pos += 1;
      return false;
    }
    if (code === SLASH && this.text.charCodeAt(this.pos + 1) === GREATER_THAN) {
      this.pos += 2;
      return true;
    }
    const end = this.text.indexOf('>', this.pos);
    if (end === -1) this.refuse('plist.syntax', 'tag is not closed');
    const isClosed = this.text.charCodeAt(end - 1) === SLASH;
    const length = (isClosed ? end - 1 : end) - this.pos;
    if (length > MAX_ATTRIBUTES_LENGTH || !ATTRIBUTES.test(this.text.slice(this.pos, this.pos + length))) {
      this.refuse('plist.syntax', 'malformed tag');
    }
    this.pos = end + 1;
    return isClosed;
  }

  /** At `</`: takes exactly the closing tag of `name`. */
  takeCloseTag(name: string): void {
    const start = this.pos;
    this.pos += 2 + name.length;
    if (!this.text.startsWith(name, start + 2)) this.refuse('plist.syntax', `expected </${name}>`, start);
    if (this.text.charCodeAt(this.pos) !== GREATER_THAN) this.skipSpace();
    if (this.text.charCodeAt(this.pos) !== GREATER_THAN) this.refuse('plist.syntax', `expected </${name}>`, start);
    this.pos += 1;
  }

  /** Whether the characters from `start` to `end` hold a reference, or the `]]>` that text must not hold. */
  needsDecoding(start: number, end: number): boolean {
    return this.ampersands.isWithin(start, end) || this.cdataEnds.isWithin(start, end);
  }
}
