import { type DerNode, readDer, TAG } from '../../../mdm/cms/read-der.ts';
import { writeElement } from '../../../mdm/cms/write-der.ts';

/**
 * The same value in BER as unlike DER as can be: every constructed element of indefinite length, every octet string in
 * pieces. Elements for which `keep` says so stay as they are (certificates are DER wherever they travel).
 */
export function reencodeBer(der: Uint8Array, keep: (node: DerNode) => boolean = () => false): Buffer {
  const root = readDer(der, { encoding: 'ber' });
  if (!root.ok) throw root.error;
  const encode = (node: DerNode): Buffer => {
    if (keep(node)) return node.raw;
    if (node.tag === TAG.OCTET_STRING) return inPieces(node.content);
    if (!node.isConstructed) return node.raw;
    return Buffer.concat([Buffer.of(node.tag, 0x80), ...node.children.map(encode), Buffer.of(0, 0)]);
  };
  return encode(root.value);
}

function inPieces(content: Buffer): Buffer {
  const middle = Math.floor(content.length / 2);
  const pieces = [content.subarray(0, middle), content.subarray(middle)].map((piece) =>
    writeElement(TAG.OCTET_STRING, piece),
  );
  return Buffer.concat([Buffer.of(0x24, 0x80), ...pieces, Buffer.of(0, 0)]);
}
