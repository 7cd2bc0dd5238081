/** PEM text (RFC 7468) → its blocks, in one linear pass. */

export interface PemBlock {
  /** What stands in the BEGIN line, such as `CERTIFICATE`. */
  readonly label: string;
  /** RFC 1421 headers such as `Proc-Type: 4,ENCRYPTED` of old encrypted keys; empty otherwise. */
  readonly headers: readonly string[];
  readonly bytes: Buffer;
}

/**
 * The first `limit` blocks in order; text around them is skipped. Undefined when one of them is begun and not ended, or
 * holds something that is not base64.
 */
export function readPem(text: string, limit = 1000): PemBlock[] | undefined {
  const blocks: PemBlock[] = [];
  let offset = 0;
  while (blocks.length < limit) {
    const begin = text.indexOf('-----BEGIN ', offset);
    if (begin < 0) break;
    const labelEnd = text.indexOf('-----', begin + 11);
    if (labelEnd < 0) return undefined;
    const label = text.slice(begin + 11, labelEnd);
    const endLine = `-----END ${label}-----`;
    const end = text.indexOf(endLine, labelEnd + 5);
    if (end < 0 || !/^[A-Z0-9 ]{1,64}$/.test(label)) return undefined;
    const block = readBlock(label, text.slice(labelEnd + 5, end));
    if (block === undefined) return undefined;
    blocks.push(block);
    offset = end + endLine.length;
  }
  return blocks;
}

function readBlock(label: string, inside: string): PemBlock | undefined {
  const lines = inside.split(/\r\n|\r|\n/).map((line) => line.trim());
  const headers = lines.filter((line) => line.includes(':'));
  const body = lines
    .filter((line) => !line.includes(':'))
    .join('')
    .replace(/[ \t]/g, '');
  const bytes = Buffer.from(body, 'base64');
  return bytes.length > 0 && bytes.toString('base64') === body ? { label, headers, bytes } : undefined;
}

/** One block with lines of 64 characters. */
export function writePem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
