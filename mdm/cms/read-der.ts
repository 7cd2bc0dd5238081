/**
 * ASN.1 bytes → a tree, for CMS messages, certificates and certificate requests (ITU-T X.690).
 *
 * One pass checks the whole input without building anything: every length, every end, the nesting and the number of
 * elements. Only then are nodes made, and only those that somebody asks for. So a walk over the tree cannot run off the
 * end, and a message with a certificate of a hundred elements costs the dozen nodes that are looked at.
 */
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';

/** Identifier octets (class, constructed bit and number in one byte). */
export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

const CONSTRUCTED = 0x20;
const INDEFINITE = -1;

export interface DerOptions {
  /** `der`: one encoding per value (certificates). `ber`: also indefinite lengths and strings in pieces (devices). */
  encoding: 'der' | 'ber';
  /** Deepest nesting; 64 by default. */
  maxDepth?: number;
  /** Most elements in the whole input; 8192 by default. */
  maxNodes?: number;
}

/** One element of checked input. `tag` is the identifier octet, offsets count from the start of the whole input. */
export class DerNode {
  readonly source: Buffer;
  readonly tag: number;
  readonly start: number;
  readonly contentStart: number;
  /** End of the content, before the end-of-contents octets where the length is indefinite. */
  readonly contentEnd: number;
  readonly end: number;
  #children: readonly DerNode[] | undefined;

  constructor(source: Buffer, tag: number, start: number, contentStart: number, contentEnd: number, end: number) {
    this.source = source;
    this.tag = tag;
    this.start = start;
    this.contentStart = contentStart;
    this.contentEnd = contentEnd;
    this.end = end;
  }

  get isConstructed(): boolean {
    return (this.tag & CONSTRUCTED) !== 0;
  }

  /** The whole element as received, sharing memory with the input. */
  get raw(): Buffer {
    return this.source.subarray(this.start, this.end);
  }

  /** What is inside, as received, sharing memory with the input. */
  get content(): Buffer {
    return this.source.subarray(this.contentStart, this.contentEnd);
  }

  /** The elements inside; none for a primitive element. */
  get children(): readonly DerNode[] {
    this.#children ??= this.isConstructed ? readChildren(this) : [];
    return this.#children;
  }
}

/** The fields of a SEQUENCE in their order: `take` what must or may come next, ask `isDone` at the end. */
export class DerFields {
  readonly #nodes: readonly DerNode[];
  #next = 0;

  constructor(parent: DerNode | undefined) {
    this.#nodes = parent?.children ?? [];
  }

  /** The next field if it has this tag; otherwise undefined, and nothing is consumed. */
  take(tag: number): DerNode | undefined {
    const node = this.#nodes[this.#next];
    if (node?.tag !== tag) return undefined;
    this.#next += 1;
    return node;
  }

  /** The next field whatever its tag. */
  takeAny(): DerNode | undefined {
    const node = this.#nodes[this.#next];
    if (node !== undefined) this.#next += 1;
    return node;
  }

  get isDone(): boolean {
    return this.#next === this.#nodes.length;
  }
}

/**
 * Reads exactly one element that fills `bytes` to the last byte.
 * Errors: `der.syntax` (malformed, cut off, trailing bytes, not in the asked encoding), `der.limit` (depth, count).
 * The nodes share memory with `bytes`.
 */
export function readDer(bytes: Uint8Array, options: DerOptions): Result<DerNode> {
  const source = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const check = new Check(source, options);
  const end = check.element(0, source.length, 0);
  if (end === FAILED) return fail(check.error ?? new ProtocolError('der.syntax', 'malformed ASN.1'));
  if (end !== source.length) return fail(new ProtocolError('der.syntax', 'bytes after the end of the element', end));
  return ok(nodeAt(source, 0, source.length));
}

const FAILED = -1;

/** Tag, length and start of the content of the element at an offset; reused, so that a walk allocates nothing. */
class Header {
  tag = 0;
  contentStart = 0;
  /** In bytes, or INDEFINITE. */
  length = 0;
  isMinimal = true;

  /** Reads a header between `offset` and `end`; false when it is cut off or of a form that is never accepted. */
  read(bytes: Uint8Array, offset: number, end: number): boolean {
    if (end - offset < 2) return false;
    this.tag = bytes[offset] ?? 0;
    const first = bytes[offset + 1] ?? 0;
    this.isMinimal = true;
    this.contentStart = offset + 2;
    this.length = first;
    if (first < 0x80) return true;
    if (first === 0x80) {
      this.length = INDEFINITE;
      return true;
    }
    return this.#readLongLength(bytes, offset + 2, first & 0x7f, end);
  }

  #readLongLength(bytes: Uint8Array, offset: number, count: number, end: number): boolean {
    if (count > 4 || end - offset < count) return false;
    let length = 0;
    for (let index = 0; index < count; index += 1) length = length * 256 + (bytes[offset + index] ?? 0);
    this.isMinimal = length >= 0x80 && bytes[offset] !== 0;
    this.length = length;
    this.contentStart = offset + count;
    return true;
  }
}

/** The checking pass. Every method gives the offset after what it checked, or FAILED with `error` set. */
class Check {
  error: ProtocolError | undefined;
  readonly #bytes: Uint8Array;
  readonly #isDer: boolean;
  readonly #maxDepth: number;
  readonly #header = new Header();
  #nodesLeft: number;

  constructor(bytes: Uint8Array, options: DerOptions) {
    this.#bytes = bytes;
    this.#isDer = options.encoding === 'der';
    this.#maxDepth = options.maxDepth ?? 64;
    this.#nodesLeft = options.maxNodes ?? 8192;
  }

  element(offset: number, end: number, depth: number): number {
    const header = this.#header;
    if (!header.read(this.#bytes, offset, end))
      return this.#fail('an element is cut off or its length is malformed', offset);
    if (depth >= this.#maxDepth) return this.#failLimit('nested too deeply', offset);
    this.#nodesLeft -= 1;
    if (this.#nodesLeft < 0) return this.#failLimit('too many elements', offset);

    const { tag, length, contentStart } = header;
    const complaint = tagComplaint(tag, this.#isDer);
    if (complaint !== undefined) return this.#fail(complaint, offset);
    if (this.#isDer && (length === INDEFINITE || !header.isMinimal))
      return this.#fail('a length is not in DER', offset);
    if (length === INDEFINITE) {
      if ((tag & CONSTRUCTED) === 0) return this.#fail('a primitive element of indefinite length', offset);
      return this.#untilEndOfContents(contentStart, end, depth + 1);
    }
    if (length > end - contentStart) return this.#fail('an element is longer than what holds it', offset);
    if ((tag & CONSTRUCTED) === 0) return contentStart + length;
    return this.#all(contentStart, contentStart + length, depth + 1);
  }

  #all(start: number, end: number, depth: number): number {
    let offset = start;
    while (offset < end) {
      offset = this.element(offset, end, depth);
      if (offset === FAILED) return FAILED;
    }
    return offset;
  }

  #untilEndOfContents(start: number, end: number, depth: number): number {
    let offset = start;
    while (!isEndOfContents(this.#bytes, offset)) {
      offset = this.element(offset, end, depth);
      if (offset === FAILED) return FAILED;
    }
    return offset + 2 <= end ? offset + 2 : this.#fail('the end of an element of indefinite length is missing', start);
  }

  #fail(message: string, offset: number): number {
    this.error = new ProtocolError('der.syntax', message, offset);
    return FAILED;
  }

  #failLimit(message: string, offset: number): number {
    this.error = new ProtocolError('der.limit', message, offset);
    return FAILED;
  }
}

/** Universal types that exist in one form only, and tags that none of our formats has. */
function tagComplaint(tag: number, isDer: boolean): string | undefined {
  if ((tag & 0x1f) === 0x1f) return 'a tag number above 30';
  if ((tag & ~CONSTRUCTED) === 0) return 'an end of contents that nothing began';
  if ((tag & 0xc0) !== 0) return undefined;
  const number = tag & 0x1f;
  const isConstructed = (tag & CONSTRUCTED) !== 0;
  if (number === 0x10 || number === 0x11) return isConstructed ? undefined : 'a sequence or set that is primitive';
  if (!isConstructed) return undefined;
  if (isDer) return 'a string in pieces is not DER';
  return number === 1 || number === 2 || number === 5 || number === 6 ? 'a primitive type in pieces' : undefined;
}

function isEndOfContents(bytes: Uint8Array, offset: number): boolean {
  return bytes[offset] === 0 && bytes[offset + 1] === 0;
}

/** The node at an offset of checked bytes. */
function nodeAt(source: Buffer, offset: number, limit: number): DerNode {
  const header = new Header();
  header.read(source, offset, limit);
  const { tag, contentStart, length } = header;
  if (length !== INDEFINITE) {
    return new DerNode(source, tag, offset, contentStart, contentStart + length, contentStart + length);
  }
  const contentEnd = endOfContents(source, contentStart, limit);
  return new DerNode(source, tag, offset, contentStart, contentEnd, contentEnd + 2);
}

/** Offset of the end-of-contents octets that end the content starting at `start`; checked bytes only. */
function endOfContents(source: Buffer, start: number, limit: number): number {
  const header = new Header();
  let offset = start;
  let open = 1;
  while (true) {
    if (isEndOfContents(source, offset)) {
      open -= 1;
      if (open === 0) return offset;
      offset += 2;
    } else {
      // A definite length may be jumped over whole: what is inside has been checked to end there.
      header.read(source, offset, limit);
      if (header.length === INDEFINITE) open += 1;
      offset = header.contentStart + Math.max(header.length, 0);
    }
  }
}

function readChildren(parent: DerNode): DerNode[] {
  const children: DerNode[] = [];
  let offset = parent.contentStart;
  while (offset < parent.contentEnd) {
    const child = nodeAt(parent.source, offset, parent.contentEnd);
    children.push(child);
    offset = child.end;
  }
  return children;
}
