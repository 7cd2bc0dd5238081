/** Distinguished names (RFC 5280 §4.1.2.4) → the attributes that matter here. */
import { OID } from '../cms/oids.ts';
import { type DerNode, TAG } from '../cms/read-der.ts';
import { readOid, readText } from '../cms/read-der-values.ts';

export interface NameAttribute {
  /** Dotted type. */
  readonly type: string;
  readonly value: string;
}

/** A certificate's subject; of attributes that may repeat, the single ones are the last (most specific) occurrence. */
export interface Subject {
  readonly commonName?: string;
  readonly serialNumber?: string;
  readonly userId?: string;
  readonly organizations: readonly string[];
  readonly organizationalUnits: readonly string[];
}

/** All attributes in order; those whose value is not readable text are left out. Undefined when it is not a Name. */
export function readNameAttributes(name: DerNode | undefined): readonly NameAttribute[] | undefined {
  if (name?.tag !== TAG.SEQUENCE) return undefined;
  const attributes: NameAttribute[] = [];
  for (const set of name.children) {
    if (set.tag !== TAG.SET || set.children.length === 0) return undefined;
    for (const pair of set.children) {
      const [typeNode, valueNode, ...others] = pair.tag === TAG.SEQUENCE ? pair.children : [];
      if (typeNode?.tag !== TAG.OID || valueNode === undefined || others.length > 0) return undefined;
      const type = readOid(typeNode);
      const value = readText(valueNode);
      if (type !== undefined && value !== undefined) attributes.push({ type, value });
    }
  }
  return attributes;
}

export function subjectOf(attributes: readonly NameAttribute[]): Subject {
  const all = (type: string): string[] => attributes.filter((entry) => entry.type === type).map((entry) => entry.value);
  const commonName = all(OID.commonName).at(-1);
  const serialNumber = all(OID.serialNumber).at(-1);
  const userId = all(OID.userId).at(-1);
  return {
    ...(commonName === undefined ? {} : { commonName }),
    ...(serialNumber === undefined ? {} : { serialNumber }),
    ...(userId === undefined ? {} : { userId }),
    organizations: all(OID.organization),
    organizationalUnits: all(OID.organizationalUnit),
  };
}
