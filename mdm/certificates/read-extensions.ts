/** The X.509 extensions that decide what a certificate may be used for, and whom it names (RFC 5280 §4.2.1). */
import { OID } from '../cms/oids.ts';
import { type DerNode, readDer, TAG } from '../cms/read-der.ts';
import { readOid, readSmallInteger } from '../cms/read-der-values.ts';

export interface AlternativeNames {
  readonly emails: readonly string[];
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
}

export interface Extensions {
  readonly isCa: boolean;
  /** Most intermediate certificates that may follow below this one. */
  readonly pathLength: number | undefined;
  /** Undefined when the key's usage is not restricted. */
  readonly maySignCertificates: boolean | undefined;
  readonly extendedKeyUsages: readonly string[] | null;
  readonly alternativeNames: AlternativeNames;
  /** Content of the subject key identifier. */
  readonly subjectKeyIdentifier: Buffer | undefined;
  /** Whether there is a critical extension that is not understood here; such a certificate must not be trusted. */
  readonly hasUnknownCritical: boolean;
}

interface Extension {
  readonly isCritical: boolean;
  /** The parsed value. */
  readonly value: DerNode;
}

/** Understood, or (certificate policies) without meaning for device identities. */
const KNOWN: ReadonlySet<string> = new Set([
  OID.subjectKeyIdentifier,
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.authorityKeyIdentifier,
  OID.extendedKeyUsage,
  '2.5.29.32',
]);

/** Reads `[3] Extensions`; undefined when malformed, an extension repeats, or a known one is malformed. */
export function readExtensions(node: DerNode | undefined): Extensions | undefined {
  const entries = new Map<string, Extension>();
  let hasUnknownCritical = false;
  const [sequence, ...others] = node?.children ?? [];
  if (others.length > 0 || (node !== undefined && sequence?.tag !== TAG.SEQUENCE)) return undefined;
  for (const child of sequence?.children ?? []) {
    const type = readOid(child.children[0]) ?? '';
    const isKnown = KNOWN.has(type);
    const isCritical = child.children[1]?.tag === TAG.BOOLEAN && child.children[1].content[0] !== 0;
    const octets = child.children.at(-1);
    if (child.tag !== TAG.SEQUENCE || octets?.tag !== TAG.OCTET_STRING || entries.has(type)) return undefined;
    if (!isKnown) {
      // Not even parsed: vendors put anything there.
      hasUnknownCritical ||= isCritical;
      continue;
    }
    const value = readDer(octets.content, { encoding: 'der' });
    if (!value.ok) return undefined;
    entries.set(type, { isCritical, value: value.value });
  }
  return interpret(entries, hasUnknownCritical);
}

function interpret(entries: ReadonlyMap<string, Extension>, hasUnknownCritical: boolean): Extensions | undefined {
  const constraints = entries.get(OID.basicConstraints)?.value;
  const keyUsage = entries.get(OID.keyUsage)?.value;
  const usages = entries.get(OID.extendedKeyUsage)?.value;
  const keyIdentifier = entries.get(OID.subjectKeyIdentifier)?.value;
  if (constraints !== undefined && constraints.tag !== TAG.SEQUENCE) return undefined;
  if (keyUsage !== undefined && keyUsage.tag !== TAG.BIT_STRING) return undefined;
  if (usages !== undefined && (usages.tag !== TAG.SEQUENCE || usages.children.length === 0)) return undefined;
  const isCa = constraints?.children[0]?.tag === TAG.BOOLEAN && constraints.children[0].content[0] !== 0;
  const lengthNode = constraints?.children.find((child) => child.tag === TAG.INTEGER);
  const pathLength = readSmallInteger(lengthNode);
  if (lengthNode !== undefined && pathLength === undefined) return undefined;
  return {
    isCa,
    pathLength,
    // keyCertSign is bit 5; byte 0 of a BIT STRING counts its unused bits.
    maySignCertificates: keyUsage === undefined ? undefined : ((keyUsage.content[1] ?? 0) & 0x04) !== 0,
    // A usage too odd to be read is still a restriction.
    extendedKeyUsages: usages === undefined ? null : usages.children.map((child) => readOid(child) ?? 'unreadable'),
    alternativeNames: readAlternativeNames(entries.get(OID.subjectAltName)?.value),
    subjectKeyIdentifier: keyIdentifier?.tag === TAG.OCTET_STRING ? keyIdentifier.content : undefined,
    hasUnknownCritical,
  };
}

function readAlternativeNames(node: DerNode | undefined): AlternativeNames {
  const all = (tag: number): string[] =>
    (node?.children ?? []).filter((child) => child.tag === tag).map((child) => child.content.toString('latin1'));
  return { emails: all(0x81), dnsNames: all(0x82), uris: all(0x86) };
}
