/** What a hand-made binary plist says about itself where that is not the truth. */
export interface BinaryLies {
  readonly top?: number;
  readonly count?: number;
  /** 2 unless told; the table is written in 2 or 4. */
  readonly offsetSize?: number;
  readonly referenceSize?: number;
  readonly tableAt?: bigint;
  readonly offsets?: readonly number[];
}

/** A binary plist of the given objects (their encoded bytes), with one-byte references and two-byte offsets. */
export function binaryPlist(objects: readonly (readonly number[])[], lies: BinaryLies = {}): Buffer {
  const body: number[] = [...Buffer.from('bplist00')];
  const offsets: number[] = [];
  for (const object of objects) {
    offsets.push(body.length);
    body.push(...object);
  }
  const offsetSize = lies.offsetSize === 4 ? 4 : 2;
  const table = Buffer.alloc(objects.length * offsetSize);
  for (const [index, offset] of (lies.offsets ?? offsets).entries())
    table.writeUIntBE(offset, index * offsetSize, offsetSize);
  const trailer = Buffer.alloc(32);
  trailer[6] = lies.offsetSize ?? 2;
  trailer[7] = lies.referenceSize ?? 1;
  trailer.writeBigUInt64BE(BigInt(lies.count ?? objects.length), 8);
  trailer.writeBigUInt64BE(BigInt(lies.top ?? 0), 16);
  trailer.writeBigUInt64BE(lies.tableAt ?? BigInt(body.length), 24);
  return Buffer.concat([Buffer.from(body), table, trailer]);
}

/** "Billion laughs": each array holds the next one `width` times, the last one nothing. */
export function binaryLaughs(depth: number, width: number): Buffer {
  const objects: number[][] = [];
  for (let level = 1; level <= depth; level += 1) objects.push([0xa0 + width, ...Array<number>(width).fill(level)]);
  return binaryPlist([...objects, [0xa0]]);
}
