import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import type { PlistLimits } from './limits.ts';
import { openXml } from './open-xml.ts';
import { parseDataText, parseDateText, parseIntegerText, parseRealText } from './read-scalars.ts';
import { takeText } from './read-xml-text.ts';
import { createPlistDict, type PlistDict, type PlistValue, setDictEntry } from './value.ts';
import { FORBIDDEN_IN_XML } from './xml-characters.ts';
import type { XmlCursor } from './xml-cursor.ts';

type ContainerName = 'dict' | 'array';
type ScalarName = 'string' | 'integer' | 'real' | 'date' | 'data' | 'true' | 'false';
type ElementName = ContainerName | ScalarName | 'key' | 'plist';

/** A container whose closing tag is still to come. The parent's frame is kept in it: a stack without a second array. */
interface Frame {
  readonly name: ContainerName;
  readonly array: PlistValue[];
  readonly dict: PlistDict;
  /** The key that waits for its value. */
  key: string | undefined;
  readonly parent: Frame | undefined;
  readonly depth: number;
}

const NO_ARRAY: PlistValue[] = [];
const NO_DICT: PlistDict = createPlistDict();

/** Names by their first letter; those with `d` are told apart by a later one. */
function guessName(text: string, at: number): ElementName | undefined {
  switch (text.charCodeAt(at)) {
    case 0x6b:
      return 'key';
    case 0x73:
      return 'string';
    case 0x64:
      if (text.charCodeAt(at + 1) === 0x69) return 'dict';
      return text.charCodeAt(at + 3) === 0x61 ? 'data' : 'date';
    case 0x69:
      return 'integer';
    case 0x74:
      return 'true';
    case 0x66:
      return 'false';
    case 0x61:
      return 'array';
    case 0x72:
      return 'real';
    case 0x70:
      return 'plist';
    default:
      return undefined;
  }
}

/** At `<`: the name of the element that opens here, `pos` being moved behind it. A longer name fails at finishOpenTag. */
function takeName(cursor: XmlCursor): ElementName {
  const { text, pos } = cursor;
  const name = guessName(text, pos + 1);
  if (name === undefined || !text.startsWith(name, pos + 1)) return cursor.refuse('plist.syntax', 'unknown element');
  cursor.pos = pos + 1 + name.length;
  return name;
}

/** Behind the opening tag of a scalar: its value, `pos` being moved behind its closing tag. */
function takeScalar(cursor: XmlCursor, name: ScalarName, isClosed: boolean): PlistValue {
  const start = cursor.pos;
  if (name === 'string') return isClosed ? '' : takeText(cursor, name);
  const text = isClosed ? '' : takeText(cursor, name);
  let value: PlistValue | undefined;
  if (name === 'integer') value = parseIntegerText(text);
  else if (name === 'real') value = parseRealText(text);
  else if (name === 'date') value = parseDateText(text);
  else if (name === 'data') value = parseDataText(text);
  else if (!/[^ \t\r\n]/.test(text)) value = name === 'true';
  if (value === undefined) return cursor.refuse('plist.syntax', `<${name}> holds something else`, start);
  return value;
}

/** Behind `<key`: keeps the key in its dict's frame until its value comes. */
function takeKey(cursor: XmlCursor, frame: Frame | undefined, maxLength: number): void {
  const start = cursor.pos;
  if (frame?.name !== 'dict') cursor.refuse('plist.syntax', 'key outside a dict');
  if (frame.key !== undefined) cursor.refuse('plist.syntax', 'key without a value');
  const key = cursor.finishOpenTag() ? '' : takeText(cursor, 'key');
  if (key.length > maxLength) cursor.refuse('plist.limit', `key longer than ${maxLength}`, start);
  frame.key = key;
}

function place(cursor: XmlCursor, frame: Frame, value: PlistValue): void {
  if (frame.name === 'array') {
    frame.array.push(value);
    return;
  }
  if (frame.key === undefined) cursor.refuse('plist.syntax', 'value without a key');
  setDictEntry(frame.dict, frame.key, value);
  frame.key = undefined;
}

/** At `</`, or where the container's next element should be and is not. */
function closeContainer(cursor: XmlCursor, frame: Frame): void {
  if (frame.key !== undefined) cursor.refuse('plist.syntax', 'key without a value');
  cursor.takeCloseTag(frame.name);
}

function openContainer(cursor: XmlCursor, name: ContainerName, parent: Frame | undefined, limits: PlistLimits): Frame {
  const depth = parent === undefined ? 1 : parent.depth + 1;
  if (depth > limits.maxDepth) cursor.refuse('plist.limit', `nested deeper than ${limits.maxDepth}`);
  return name === 'dict'
    ? { name, array: NO_ARRAY, dict: createPlistDict(), key: undefined, parent, depth }
    : { name, array: [], dict: NO_DICT, key: undefined, parent, depth };
}

/** At the `<` of a value: the whole of it. A loop with its own stack: no document can exhaust the call stack. */
function takeValue(cursor: XmlCursor, limits: PlistLimits): PlistValue {
  let frame: Frame | undefined;
  let nodes = 0;
  for (;;) {
    if (frame !== undefined) cursor.skipMisc();
    const start = cursor.pos;
    if (cursor.text.charCodeAt(start) !== 0x3c) cursor.refuse('plist.syntax', 'expected an element');
    let value: PlistValue;
    if (frame !== undefined && cursor.text.charCodeAt(start + 1) === 0x2f) {
      closeContainer(cursor, frame);
      value = frame.name === 'dict' ? frame.dict : frame.array;
      frame = frame.parent;
    } else {
      const name = takeName(cursor);
      if (name === 'key') {
        takeKey(cursor, frame, limits.maxKeyLength);
        continue;
      }
      if (name === 'plist') return cursor.refuse('plist.syntax', 'plist inside a plist', start);
      nodes += 1;
      if (nodes > limits.maxNodes) cursor.refuse('plist.limit', `more than ${limits.maxNodes} values`, start);
      const isClosed = cursor.finishOpenTag();
      if (name === 'dict' || name === 'array') {
        const opened: Frame = openContainer(cursor, name, frame, limits);
        if (!isClosed) {
          frame = opened;
          continue;
        }
        value = name === 'dict' ? opened.dict : opened.array;
      } else {
        value = takeScalar(cursor, name, isClosed);
      }
    }
    if (frame === undefined) return value;
    place(cursor, frame, value);
  }
}

function takeDocument(cursor: XmlCursor, limits: PlistLimits): PlistValue {
  if (!/^<plist[ \t\r\n/>]/.test(cursor.text.slice(cursor.pos, cursor.pos + 7))) return takeValue(cursor, limits);
  cursor.pos += 6;
  if (cursor.finishOpenTag()) return cursor.refuse('plist.syntax', 'plist without a value');
  cursor.skipMisc();
  const value = takeValue(cursor, limits);
  cursor.skipMisc();
  if (!cursor.text.startsWith('</', cursor.pos)) cursor.refuse('plist.syntax', 'expected </plist>');
  cursor.takeCloseTag('plist');
  return value;
}

/**
 * Reads an XML plist in one pass. Strict, except where the reference server is not and its clients may count on it
 * (nanomdm §10 #86): no XML declaration or DOCTYPE, white space or a byte order mark first, no `<plist>` around the value,
 * anything after the last closing tag; a repeated key's last value holds. Attributes are ignored; entities other than
 * XML's own five, an internal DTD subset, another encoding than UTF-8, elements or text out of place are refused.
 * Never throws; errors are plist.syntax, plist.encoding and plist.limit.
 */
export function readXmlPlist(bytes: Buffer, limits: PlistLimits): Result<PlistValue> {
  if (bytes.length > limits.maxBytes) {
    return fail(new ProtocolError('plist.limit', `larger than ${limits.maxBytes} bytes`));
  }
  try {
    const cursor = openXml(bytes);
    // One search for all strings; it counts only up to where the document ends, for what follows is not ours.
    const forbidden = cursor.text.search(FORBIDDEN_IN_XML);
    const value = takeDocument(cursor, limits);
    if (forbidden !== -1 && forbidden < cursor.pos) cursor.refuse('plist.syntax', 'forbidden character', forbidden);
    return ok(value);
  } catch (error) {
    if (error instanceof ProtocolError) return fail(error);
    throw error;
  }
}
