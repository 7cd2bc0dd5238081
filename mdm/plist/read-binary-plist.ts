import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import type { PlistLimits } from './limits.ts';
import {
  BINARY_KIND,
  type BinaryMarker,
  type BinaryObjects,
  locateObject,
  openBinary,
  readBinaryDate,
  readBinaryInteger,
  readBinaryReal,
  readBinaryString,
  readMarker,
  readUnsigned,
  refuseBinary,
  requireBytes,
} from './read-binary-objects.ts';
import { createPlistDict, type PlistDict, type PlistValue, setDictEntry } from './value.ts';

/** A container being filled. */
interface Frame {
  readonly index: number;
  readonly container: PlistValue[] | PlistDict;
  readonly count: number;
  /** Where its references start: its members, or its keys with the values after them. */
  readonly at: number;
  next: number;
}

/**
 * Objects may be referenced any number of times, so a few bytes can stand for gigabytes. What is counted is what comes
 * out: each value and key, and each byte of text and data, as often as it is referenced. Strings and data are read once
 * and shared between their references.
 */
class BinaryPlistReader {
  private readonly objects: BinaryObjects;
  private readonly maxDepth: number;
  private readonly maxNodes: number;
  private readonly limits: PlistLimits;
  private readonly shared = new Map<number, string | Buffer>();
  /** The containers that are being filled: meeting one of them again is a cycle. */
  private readonly open = new Set<number>();
  private readonly stack: Frame[] = [];
  private nodes = 0;
  private size = 0;

  constructor(bytes: Buffer, limits: PlistLimits) {
    this.maxDepth = Math.min(limits.maxDepth, limits.maxBinaryDepth);
    this.maxNodes = Math.min(limits.maxNodes, limits.maxBinaryNodes);
    this.limits = limits;
    this.objects = openBinary(bytes, this.maxNodes);
  }

  read(): PlistValue {
    const root = this.take(this.objects.top, this.objects.tableAt);
    for (let frame = this.stack.at(-1); frame !== undefined; frame = this.stack.at(-1)) {
      if (frame.next < frame.count) {
        this.takeMember(frame);
      } else {
        this.open.delete(frame.index);
        this.stack.pop();
      }
    }
    return root;
  }

  private takeMember(frame: Frame): void {
    const { bytes, referenceSize } = this.objects;
    const keyAt = frame.at + frame.next * referenceSize;
    frame.next += 1;
    if (Array.isArray(frame.container)) {
      frame.container.push(this.take(readUnsigned(bytes, keyAt, referenceSize), keyAt));
      return;
    }
    const valueAt = keyAt + frame.count * referenceSize;
    const key = this.takeKey(readUnsigned(bytes, keyAt, referenceSize), keyAt);
    setDictEntry(frame.container, key, this.take(readUnsigned(bytes, valueAt, referenceSize), valueAt));
  }

  private takeKey(index: number, referenceAt: number): string {
    const key = this.take(index, referenceAt);
    if (typeof key !== 'string') return refuseBinary('plist.syntax', 'key is not a string', referenceAt);
    if (key.length > this.limits.maxKeyLength) {
      return refuseBinary('plist.limit', `key longer than ${this.limits.maxKeyLength}`, referenceAt);
    }
    return key;
  }

  /** The value of an object; of a container the container, still empty, its filling being pushed on the stack. */
  private take(index: number, referenceAt: number): PlistValue {
    this.nodes += 1;
    if (this.nodes > this.maxNodes)
      return refuseBinary('plist.limit', `more than ${this.maxNodes} values`, referenceAt);
    const shared = this.shared.get(index);
    if (shared !== undefined) return this.count(shared, referenceAt);
    const offset = locateObject(this.objects, index, referenceAt);
    const marker = readMarker(this.objects, offset);
    switch (marker.kind) {
      case BINARY_KIND.SIMPLE:
        if (marker.count === 8 || marker.count === 9) return marker.count === 9;
        return refuseBinary('plist.syntax', 'object is not of a kind that a plist holds', offset);
      case BINARY_KIND.INTEGER:
        return readBinaryInteger(this.objects, marker);
      case BINARY_KIND.REAL:
        return readBinaryReal(this.objects, marker);
      case BINARY_KIND.DATE:
        return readBinaryDate(this.objects, marker);
      case BINARY_KIND.DATA:
        requireBytes(this.objects, marker.at, marker.count);
        // A copy: what is kept must not hold on to the whole request body, nor change with it.
        return this.share(index, Buffer.from(this.objects.bytes.subarray(marker.at, marker.at + marker.count)), offset);
      case BINARY_KIND.ASCII:
      case BINARY_KIND.UTF16:
        return this.share(index, readBinaryString(this.objects, marker), offset);
      case BINARY_KIND.ARRAY:
        return this.openContainer(index, offset, marker, []);
      case BINARY_KIND.DICT:
        return this.openContainer(index, offset, marker, createPlistDict());
      default:
        // Sets, UIDs (keyed archives) and URLs have no form in an XML plist and no place in MDM.
        return refuseBinary('plist.syntax', 'object is not of a kind that a plist holds', offset);
    }
  }

  private share(index: number, value: string | Buffer, at: number): string | Buffer {
    this.shared.set(index, value);
    return this.count(value, at);
  }

  private count(value: string | Buffer, at: number): string | Buffer {
    this.size += value.length;
    if (this.size > this.limits.maxBytes) refuseBinary('plist.limit', `more than ${this.limits.maxBytes} bytes`, at);
    return value;
  }

  private openContainer<T extends PlistValue[] | PlistDict>(
    index: number,
    offset: number,
    { kind, count, at }: BinaryMarker,
    container: T,
  ): T {
    if (this.open.has(index)) refuseBinary('plist.syntax', 'container contains itself', offset);
    if (this.stack.length >= this.maxDepth) refuseBinary('plist.limit', `nested deeper than ${this.maxDepth}`, offset);
    const references = kind === BINARY_KIND.DICT ? count * 2 : count;
    requireBytes(this.objects, at, references * this.objects.referenceSize);
    this.open.add(index);
    this.stack.push({ index, container, count, at, next: 0 });
    return container;
  }
}

/**
 * Reads a binary plist (`bplist0?`). No device is known to send one, but the reference server takes them (nanomdm §1.1);
 * so within narrow bounds, with every offset checked. Sets, UIDs, null and strings with characters that XML forbids are
 * refused, so that whatever is read can be written as XML. Strings and data referenced twice are the same object twice.
 * Never throws; errors are plist.syntax, plist.encoding and plist.limit.
 */
export function readBinaryPlist(bytes: Buffer, limits: PlistLimits): Result<PlistValue> {
  if (bytes.length > limits.maxBytes) {
    return fail(new ProtocolError('plist.limit', `larger than ${limits.maxBytes} bytes`));
  }
  try {
    return ok(new BinaryPlistReader(bytes, limits).read());
  } catch (error) {
    if (error instanceof ProtocolError) return fail(error);
    throw error;
  }
}
