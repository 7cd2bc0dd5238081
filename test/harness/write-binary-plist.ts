type Value = string | Buffer | boolean;

/** A flat dictionary as a binary property list (version 00); strings in UTF-16, whatever units they are made of. */
export function writeBinaryPlist(dict: Readonly<Record<string, Value>>): Buffer {
  const entries = Object.entries(dict);
  const count = entries.length;
  const refs = Buffer.from(Array.from({ length: 2 * count }, (_, index) => 1 + index));
  const objects = [
    Buffer.concat([marker(0xd0, count), refs]),
    ...entries.map(([key]) => writeObject(key)),
    ...entries.map(([, value]) => writeObject(value)),
  ];
  const offsets: number[] = [];
  let at = 8;
  for (const object of objects) {
    offsets.push(at);
    at += object.length;
  }
  const table = Buffer.alloc(4 * offsets.length);
  for (const [index, offset] of offsets.entries()) table.writeUInt32BE(offset, 4 * index);
  const trailer = Buffer.alloc(32);
  trailer[6] = 4;
  trailer[7] = 1;
  trailer.writeBigUInt64BE(BigInt(objects.length), 8);
  trailer.writeBigUInt64BE(0n, 16);
  trailer.writeBigUInt64BE(BigInt(at), 24);
  return Buffer.concat([Buffer.from('bplist00'), ...objects, table, trailer]);
}

function writeObject(value: Value): Buffer {
  if (typeof value === 'boolean') return Buffer.of(value ? 0x09 : 0x08);
  if (Buffer.isBuffer(value)) return Buffer.concat([marker(0x40, value.length), value]);
  const units = Buffer.from(value, 'utf16le').swap16();
  return Buffer.concat([marker(0x60, value.length), units]);
}

function marker(kind: number, length: number): Buffer {
  if (length < 15) return Buffer.of(kind | length);
  return Buffer.of(kind | 0x0f, 0x11, length >> 8, length & 0xff);
}
