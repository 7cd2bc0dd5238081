import { DEFAULT_PLIST_LIMITS } from './limits.ts';
import { isPlistDate, PLIST_INTEGER_MAX, PLIST_INTEGER_MIN, type PlistValue } from './value.ts';
import { FORBIDDEN_IN_XML } from './xml-characters.ts';

export interface WritePlistOptions {
  /** Each element on a line of its own, with tabs, as Apple writes; or all of `<plist>` on one line. Default true. */
  readonly indent?: boolean;
  /** A line feed after `</plist>`. Default true. */
  readonly finalNewline?: boolean;
}

/** A value that no plist can hold. `path` says where it is, as in `Command.Settings[0].Item`. */
export class PlistValueError extends Error {
  readonly path: string;

  constructor(reason: string, path: string) {
    super(path === '' ? reason : `${path}: ${reason}`);
    this.name = 'PlistValueError';
    this.path = path;
  }
}

const PROLOG = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
`;

/** No such character: the text is written as it is. Surrogates are here because half of a pair cannot be written at all. */
const SPECIAL = /[^\t\n -%'-;=?-\u0084\u0086-\u2027\u202a-\ud7ff\ue000-\ufffd]/;
// Readers turn a bare return into a line feed (XML 1.0 §2.11), those of XML 1.1 also U+0085 and U+2028, and some also U+2029.
const ESCAPED = /[&<>\r\u0085\u2028\u2029]/g;
const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

class PlistWriter {
  out = PROLOG;
  private readonly newline: string;
  private readonly tab: string;
  /** Keys and positions from the root to here, for errors; also bounds the depth, and with it cycles. */
  private readonly path: (string | number)[] = [];

  constructor(indent: boolean) {
    this.newline = indent ? '\n' : '';
    this.tab = indent ? '\t' : '';
  }

  write(value: PlistValue, finalNewline: boolean): void {
    this.out += `<plist version="1.0">${this.newline}`;
    this.writeValue(value, '');
    this.out += finalNewline ? '</plist>\n' : '</plist>';
  }

  private writeValue(value: PlistValue, indent: string): void {
    if (typeof value === 'string') this.out += `${indent}<string>${this.escape(value)}</string>${this.newline}`;
    else if (typeof value === 'object' && value !== null) this.writeObject(value, indent);
    else this.out += indent + this.scalar(value) + this.newline;
  }

  private writeObject(value: Exclude<PlistValue, string | number | bigint | boolean>, indent: string): void {
    if (Array.isArray(value)) {
      this.writeArray(value, indent);
    } else if (value instanceof Date) {
      if (!isPlistDate(value)) this.refuse('invalid date');
      this.out += `${indent}<date>${value.toISOString().slice(0, 19)}Z</date>${this.newline}`;
    } else if (value instanceof Uint8Array) {
      const data = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      this.out += `${indent}<data>${data.toString('base64')}</data>${this.newline}`;
    } else {
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype !== null && prototype !== Object.prototype) this.refuse('object is not a plain dict');
      this.writeDict(value, indent);
    }
  }

  private writeArray(array: readonly PlistValue[], indent: string): void {
    if (array.length === 0) {
      this.out += `${indent}<array/>${this.newline}`;
      return;
    }
    this.enter();
    this.out += `${indent}<array>${this.newline}`;
    for (const [index, member] of array.entries()) {
      this.path[this.path.length - 1] = index;
      this.writeValue(member, indent + this.tab);
    }
    this.out += `${indent}</array>${this.newline}`;
    this.path.pop();
  }

  private writeDict(dict: { readonly [key: string]: PlistValue }, indent: string): void {
    const keys = Object.keys(dict);
    if (keys.length === 0) {
      this.out += `${indent}<dict/>${this.newline}`;
      return;
    }
    this.enter();
    this.out += `${indent}<dict>${this.newline}`;
    const inner = indent + this.tab;
    for (const key of keys) {
      this.path[this.path.length - 1] = key;
      const value = dict[key];
      if (value === undefined) this.refuse('undefined');
      this.out += `${inner}<key>${this.escape(key)}</key>${this.newline}`;
      this.writeValue(value, inner);
    }
    this.out += `${indent}</dict>${this.newline}`;
    this.path.pop();
  }

  private scalar(value: unknown): string {
    if (typeof value === 'boolean') return value ? '<true/>' : '<false/>';
    if (typeof value === 'number') return numberElement(value);
    if (typeof value !== 'bigint') return this.refuse(value === null ? 'null' : typeof value);
    if (value < PLIST_INTEGER_MIN || value > PLIST_INTEGER_MAX) return this.refuse('integer beyond 64 bits');
    return `<integer>${value}</integer>`;
  }

  private escape(text: string): string {
    if (!SPECIAL.test(text)) return text;
    if (FORBIDDEN_IN_XML.test(text)) return this.refuse('character that XML forbids');
    if (!text.isWellFormed()) return this.refuse('half of a surrogate pair');
    return text.replace(ESCAPED, (character) => ESCAPES[character] ?? `&#${character.charCodeAt(0)};`);
  }

  private enter(): void {
    if (this.path.length >= DEFAULT_PLIST_LIMITS.maxDepth) this.refuse('nested too deep');
    this.path.push('');
  }

  private refuse(reason: string): never {
    let path = '';
    for (const step of this.path) path += typeof step === 'number' ? `[${step}]` : `${path === '' ? '' : '.'}${step}`;
    throw new PlistValueError(reason, path);
  }
}

/** Whole numbers that are exact are integers; all else is a real, in the words that Apple's writer uses. */
function numberElement(value: number): string {
  if (Object.is(value, -0)) return '<real>-0.0</real>';
  if (Number.isSafeInteger(value)) return `<integer>${value}</integer>`;
  if (Number.isNaN(value)) return '<real>nan</real>';
  if (!Number.isFinite(value)) return value > 0 ? '<real>+infinity</real>' : '<real>-infinity</real>';
  return `<real>${value}</real>`;
}

/**
 * Writes an XML plist as Apple does: declaration, DOCTYPE, tabs, data in one run of base64. Reading it back gives the
 * same value, except that dates lose their milliseconds. `nan` and the infinities are written, for Apple's readers and
 * ours take them.
 * @throws PlistValueError for what a plist cannot hold: characters that XML forbids, invalid dates, integers beyond
 *   64 bits, undefined, null, other classes, nesting (or a cycle) deeper than 64.
 */
export function writePlist(value: PlistValue, options: WritePlistOptions = {}): Buffer {
  const writer = new PlistWriter(options.indent ?? true);
  writer.write(value, options.finalNewline ?? true);
  return Buffer.from(writer.out, 'utf8');
}
