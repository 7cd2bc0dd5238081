/** CMS SignedData (RFC 5652 §5) taken apart, nothing verified: bytes → who claims to have signed what, and how. */
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import { OID } from './oids.ts';
import { DerFields, type DerNode, readDer, TAG } from './read-der.ts';
import { readAlgorithm, readOctets, readOid, toDer } from './read-der-values.ts';

export interface SignerInfo {
  /** The signer's certificate by its issuer (Name in DER) and serial number (content of the INTEGER). */
  readonly issuer: Buffer;
  readonly serialNumber: Buffer;
  /** AlgorithmIdentifiers, as received. */
  readonly digestAlgorithm: DerNode;
  readonly signatureAlgorithm: DerNode;
  readonly signedAttributes: SignedAttributes | undefined;
  readonly signature: Buffer;
}

export interface SignedAttributes {
  /** What the signature is over: the attributes as a DER SET OF, in the order received. */
  readonly toBeSigned: Buffer;
  /** The one value of each attribute, by dotted type. */
  readonly values: ReadonlyMap<string, DerNode>;
}

export interface SignedData {
  /** Dotted type of what is signed. */
  readonly contentType: string;
  /** What is signed, where it travels inside (attached). */
  readonly content: Buffer | undefined;
  /** The embedded X.509 certificates, in DER as received, unparsed. */
  readonly certificates: readonly Buffer[];
  readonly signers: readonly SignerInfo[];
}

/**
 * Reads a ContentInfo with SignedData, BER or DER. Buffers may share memory with `bytes`.
 * Errors: `der.*`, `cms.syntax`, `cms.unsupported` (signer by key identifier).
 */
export function readSignedData(bytes: Uint8Array): Result<SignedData> {
  const root = readDer(bytes, { encoding: 'ber' });
  if (!root.ok) return root;
  const [type, wrapper, ...others] = root.value.children;
  if (root.value.tag !== TAG.SEQUENCE || readOid(type) !== OID.signedData || others.length > 0) {
    return syntax('not a ContentInfo with SignedData');
  }
  const [body, ...more] = wrapper?.tag === 0xa0 ? wrapper.children : [];
  if (body?.tag !== TAG.SEQUENCE || more.length > 0) return syntax('ContentInfo without content');
  return readBody(new DerFields(body));
}

function readBody(fields: DerFields): Result<SignedData> {
  const version = fields.take(TAG.INTEGER);
  const digestAlgorithms = fields.take(TAG.SET);
  const encapsulated = fields.take(TAG.SEQUENCE);
  const certificates = fields.take(0xa0);
  fields.take(0xa1); // revocation lists: not used
  const signerInfos = fields.take(TAG.SET);
  if (!version || !digestAlgorithms || !encapsulated || !signerInfos || !fields.isDone) {
    return syntax('malformed SignedData');
  }
  const [type, wrapper, ...others] = encapsulated.children;
  const contentType = readOid(type);
  if (contentType === undefined || others.length > 0) return syntax('malformed EncapsulatedContentInfo');
  const content = wrapper === undefined ? undefined : readContent(wrapper);
  if (content === null) return syntax('malformed content');

  const signers: SignerInfo[] = [];
  for (const node of signerInfos.children) {
    const signer = readSigner(node);
    if (!signer.ok) return signer;
    signers.push(signer.value);
  }
  // A CertificateSet may also hold obsolete and attribute certificates, which carry context tags.
  const embedded = certificates?.children.filter((node) => node.tag === TAG.SEQUENCE).map((node) => node.raw) ?? [];
  return ok({ contentType, content, certificates: embedded, signers });
}

/** `[0] EXPLICIT OCTET STRING`; null when it is something else. */
function readContent(wrapper: DerNode): Buffer | null {
  if (wrapper.tag !== 0xa0 || wrapper.children.length !== 1) return null;
  return readOctets(wrapper.children[0]) ?? null;
}

function readSigner(node: DerNode): Result<SignerInfo> {
  const fields = new DerFields(node.tag === TAG.SEQUENCE ? node : undefined);
  const version = fields.take(TAG.INTEGER);
  if (fields.take(0x80) || fields.take(0xa0)) {
    return fail(
      new ProtocolError('cms.unsupported', 'the signer is named by key identifier, not by issuer and serial'),
    );
  }
  const [issuer, serial, ...others] = fields.take(TAG.SEQUENCE)?.children ?? [];
  const digestAlgorithm = fields.take(TAG.SEQUENCE);
  const attributes = fields.take(0xa0);
  const signatureAlgorithm = fields.take(TAG.SEQUENCE);
  const signature = readOctets(fields.take(TAG.OCTET_STRING) ?? fields.take(TAG.OCTET_STRING | 0x20));
  fields.take(0xa1); // unsigned attributes: not used
  if (!version || issuer?.tag !== TAG.SEQUENCE || serial?.tag !== TAG.INTEGER || others.length > 0) {
    return syntax('malformed SignerInfo');
  }
  if (readAlgorithm(digestAlgorithm) === undefined || readAlgorithm(signatureAlgorithm) === undefined) {
    return syntax('malformed algorithm in SignerInfo');
  }
  if (!digestAlgorithm || !signatureAlgorithm || !signature || !fields.isDone) return syntax('malformed SignerInfo');
  const signedAttributes = attributes === undefined ? ok(undefined) : readAttributes(attributes);
  if (!signedAttributes.ok) return signedAttributes;
  return ok({
    issuer: toDer(issuer),
    serialNumber: serial.content,
    digestAlgorithm,
    signatureAlgorithm,
    signedAttributes: signedAttributes.value,
    signature,
  });
}

/** Each attribute once, with exactly one value: so for the ones CMS and SCEP define (RFC 5652 §11, RFC 8894 §3.2.1). */
function readAttributes(node: DerNode): Result<SignedAttributes> {
  const values = new Map<string, DerNode>();
  for (const attribute of node.children) {
    const [type, set, ...others] = attribute.tag === TAG.SEQUENCE ? attribute.children : [];
    const name = readOid(type);
    const [value, ...more] = set?.tag === TAG.SET ? set.children : [];
    if (name === undefined || value === undefined || others.length + more.length > 0 || values.has(name)) {
      return syntax('malformed or repeated signed attribute');
    }
    values.set(name, value);
  }
  // RFC 5652 §5.4: the signature covers the attributes as a SET OF in DER, not with the implicit tag they travel under.
  const toBeSigned = Buffer.from(toDer(node));
  toBeSigned[0] = TAG.SET;
  return ok({ toBeSigned, values });
}

const syntax = (message: string) => fail(new ProtocolError('cms.syntax', message));
