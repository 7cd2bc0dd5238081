/** Single ASN.1 elements → values. All give undefined for an element of another type or with malformed content. */
import { type DerNode, readDer, TAG } from './read-der.ts';
import { writeElement } from './write-der.ts';

/** OBJECT IDENTIFIER → dotted text. */
export function readOid(node: DerNode | undefined): string | undefined {
  if (node?.tag !== TAG.OID || node.contentEnd === node.contentStart) return undefined;
  const { source, contentStart, contentEnd } = node;
  let text = '';
  let arc = 0;
  let isInside = false;
  for (let offset = contentStart; offset < contentEnd; offset += 1) {
    const byte = source[offset] ?? 0;
    // 0x80 first would be a padded arc, a second spelling of the same identifier.
    if (!isInside && byte === 0x80) return undefined;
    if (arc > 0xff_ffff_ffff) return undefined;
    arc = arc * 128 + (byte & 0x7f);
    isInside = byte >= 0x80;
    if (isInside) continue;
    if (text === '') text = arc < 80 ? `${Math.floor(arc / 40)}.${arc % 40}` : `2.${arc - 80}`;
    else text += `.${arc}`;
    arc = 0;
  }
  return isInside ? undefined : text;
}

/** The identifier of an AlgorithmIdentifier (SEQUENCE of OID and optional parameters). */
export function readAlgorithm(node: DerNode | undefined): string | undefined {
  if (node?.tag !== TAG.SEQUENCE || node.children.length > 2) return undefined;
  return readOid(node.children[0]);
}

/** Whether an AlgorithmIdentifier has no parameters, or NULL ones; both occur for hashes and RSA (RFC 5754 §2). */
export function hasNoParameters(node: DerNode): boolean {
  const parameters = node.children[1];
  return parameters === undefined || (parameters.tag === TAG.NULL && parameters.contentStart === parameters.contentEnd);
}

/**
 * The bytes of an OCTET STRING, joined when it came in pieces (BER). `tag` is the primitive identifier octet when the
 * string is implicitly tagged. Shares memory with the input where it came in one piece.
 */
export function readOctets(node: DerNode | undefined, tag: number = TAG.OCTET_STRING): Buffer | undefined {
  if (node === undefined) return undefined;
  if (node.tag === tag) return node.content;
  if (node.tag !== (tag | 0x20)) return undefined;
  const pieces: Buffer[] = [];
  for (const child of node.children) {
    const piece = readOctets(child);
    if (piece === undefined) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** BIT STRING of whole octets, in one piece (DER). */
export function readBitString(node: DerNode | undefined): Buffer | undefined {
  if (node?.tag !== TAG.BIT_STRING || node.source[node.contentStart] !== 0) return undefined;
  return node.contentEnd > node.contentStart ? node.source.subarray(node.contentStart + 1, node.contentEnd) : undefined;
}

/** INTEGER from 0 to 2^31 − 1. */
export function readSmallInteger(node: DerNode | undefined): number | undefined {
  if (node?.tag !== TAG.INTEGER) return undefined;
  const content = node.content;
  if (content.length === 0 || content.length > 4 || content.readInt8(0) < 0) return undefined;
  return content.readUIntBE(0, content.length);
}

/** UTCTime or GeneralizedTime in the one form that certificates and CMS allow: seconds, `Z` (RFC 5280 §4.1.2.5). */
export function readTime(node: DerNode | undefined): Date | undefined {
  if (node?.tag !== TAG.UTC_TIME && node?.tag !== TAG.GENERALIZED_TIME) return undefined;
  const text = node.content.toString('latin1');
  const yearDigits = node.tag === TAG.UTC_TIME ? 2 : 4;
  if (!/^\d+Z$/.test(text) || text.length !== yearDigits + 11) return undefined;
  const number = (at: number): number => Number(text.slice(at, at + 2));
  const shortYear = number(0);
  const year = yearDigits === 4 ? Number(text.slice(0, 4)) : shortYear + (shortYear >= 50 ? 1900 : 2000);
  const at = yearDigits;
  const [month, day, hour, minute, second] = [
    number(at),
    number(at + 2),
    number(at + 4),
    number(at + 6),
    number(at + 8),
  ];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const isReal = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour;
  return isReal && date.getUTCMinutes() === minute && date.getUTCSeconds() === second ? date : undefined;
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const strictUtf16 = new TextDecoder('utf-16be', { fatal: true, ignoreBOM: true });

/** The text of any character string type that names use. */
export function readText(node: DerNode | undefined): string | undefined {
  if (node === undefined) return undefined;
  try {
    switch (node.tag) {
      case TAG.UTF8_STRING:
        return strictUtf8.decode(node.content);
      case TAG.PRINTABLE_STRING:
      case TAG.IA5_STRING:
      case 0x12: // NumericString
      case 0x14: // TeletexString, in practice Latin-1
      case 0x1a: // VisibleString
        return node.content.toString('latin1');
      case 0x1e: // BMPString
        return strictUtf16.decode(node.content);
      default:
        return undefined;
    }
  } catch {
    return undefined;
  }
}

/**
 * The element in DER: definite lengths, octet strings in one piece. The order of a SET is kept as received. Shares memory
 * with the input where that is DER already, which costs no more than looking.
 */
export function toDer(node: DerNode): Buffer {
  return readDer(node.raw, { encoding: 'der' }).ok ? node.raw : reencode(node);
}

function reencode(node: DerNode): Buffer {
  if (!node.isConstructed) return writeElement(node.tag, node.content);
  const joined = readOctets(node);
  if (joined !== undefined) return writeElement(TAG.OCTET_STRING, joined);
  return writeElement(node.tag, ...node.children.map(reencode));
}
