/** The `Mdm-Signature` header as devices make it (apple-protocols §1.2). */
import { hash, type KeyObject, sign } from 'node:crypto';
import { OID } from '../mdm/cms/oids.ts';
import { readDer, TAG } from '../mdm/cms/read-der.ts';
import {
  writeAlgorithm,
  writeElement,
  writeInteger,
  writeNull,
  writeOctetString,
  writeOid,
  writeSequence,
  writeSet,
  writeTime,
} from '../mdm/cms/write-der.ts';

type Digest = 'sha1' | 'sha256' | 'sha384' | 'sha512';

export interface MdmSignatureOptions {
  privateKey: KeyObject;
  certificateDer: Buffer;
  /** SHA-256 by default. */
  digest?: Digest;
  /** With contentType, messageDigest and signingTime (now). Devices sign the body itself; off by default. */
  signedAttributes?: boolean;
  /** BER: every SEQUENCE down to the signer of indefinite length, strings in pieces. */
  indefiniteLength?: boolean;
  /** Certificates to send along, such as the issuer's. */
  extraCertificates?: readonly Buffer[];
  /** Puts the body inside as well. */
  attached?: boolean;
}

const EC_SIGNATURES = {
  sha1: OID.ecdsaWithSha1,
  sha256: OID.ecdsaWithSha256,
  sha384: OID.ecdsaWithSha384,
  sha512: OID.ecdsaWithSha512,
} as const;
const RSA_SIGNATURES = {
  sha1: OID.sha1WithRsa,
  sha256: OID.sha256WithRsa,
  sha384: OID.sha384WithRsa,
  sha512: OID.sha512WithRsa,
} as const;

/** Signs a request's body; gives the header's value. All but the signature is built once per certificate and digest. */
export function signMdm(body: Uint8Array, options: MdmSignatureOptions): string {
  const digest = options.digest ?? 'sha256';
  const parts = partsFor(options.certificateDer, digest, options.privateKey);
  const sequence = options.indefiniteLength ? writeIndefinite : writeElement;
  const attributes = options.signedAttributes ? writeAttributes(hash(digest, body, 'buffer')) : undefined;
  const signature = sign(digest, attributes ?? body, options.privateKey);
  const signerInfo = sequence(
    TAG.SEQUENCE,
    parts.signerHead,
    ...(attributes === undefined ? [] : [writeElement(0xa0, contentOf(attributes))]),
    parts.signatureAlgorithm,
    writeOctetString(signature),
  );
  const content = options.indefiniteLength ? writeInPieces(body) : writeOctetString(body);
  const signedData = sequence(
    TAG.SEQUENCE,
    parts.head,
    sequence(TAG.SEQUENCE, parts.dataType, ...(options.attached ? [sequence(0xa0, content)] : [])),
    sequence(0xa0, options.certificateDer, ...(options.extraCertificates ?? [])),
    sequence(TAG.SET, signerInfo),
  );
  return sequence(TAG.SEQUENCE, parts.signedDataType, sequence(0xa0, signedData)).toString('base64');
}

interface Parts {
  readonly signedDataType: Buffer;
  readonly dataType: Buffer;
  /** Version and digest algorithms of the SignedData. */
  readonly head: Buffer;
  /** Version, signer identifier and digest algorithm of the SignerInfo. */
  readonly signerHead: Buffer;
  readonly signatureAlgorithm: Buffer;
}

const built = new WeakMap<Buffer, Map<Digest, Parts>>();

function partsFor(certificateDer: Buffer, digest: Digest, key: KeyObject): Parts {
  const byDigest = built.get(certificateDer) ?? new Map<Digest, Parts>();
  built.set(certificateDer, byDigest);
  const known = byDigest.get(digest);
  if (known !== undefined) return known;
  const digestAlgorithm = writeAlgorithm(OID[digest], writeNull());
  const isEc = key.asymmetricKeyType === 'ec';
  const parts = {
    signedDataType: writeOid(OID.signedData),
    dataType: writeOid(OID.data),
    head: Buffer.concat([writeInteger(1), writeSet(digestAlgorithm)]),
    signerHead: Buffer.concat([writeInteger(1), signerIdentifier(certificateDer), digestAlgorithm]),
    signatureAlgorithm: isEc
      ? writeAlgorithm(EC_SIGNATURES[digest])
      : writeAlgorithm(RSA_SIGNATURES[digest], writeNull()),
  };
  byDigest.set(digest, parts);
  return parts;
}

/** IssuerAndSerialNumber of a certificate. */
function signerIdentifier(certificateDer: Buffer): Buffer {
  const root = readDer(certificateDer, { encoding: 'der' });
  if (!root.ok) throw root.error;
  const fields = root.value.children[0]?.children ?? [];
  const first = fields[0]?.tag === 0xa0 ? 1 : 0;
  const [serialNumber, , issuer] = fields.slice(first, first + 3);
  return writeSequence(issuer?.raw ?? Buffer.of(), serialNumber?.raw ?? Buffer.of());
}

/** Signed attributes as they are signed: a SET OF. */
function writeAttributes(digest: Buffer): Buffer {
  const attribute = (type: string, value: Buffer): Buffer => writeSequence(writeOid(type), writeSet(value));
  return writeSet(
    attribute(OID.contentType, writeOid(OID.data)),
    attribute(OID.messageDigest, writeOctetString(digest)),
    attribute(OID.signingTime, writeTime(new Date())),
  );
}

function contentOf(element: Buffer): Buffer {
  const node = readDer(element, { encoding: 'der' });
  if (!node.ok) throw node.error;
  return node.value.content;
}

function writeIndefinite(tag: number, ...content: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.of(tag, 0x80), ...content, Buffer.of(0, 0)]);
}

function writeInPieces(bytes: Uint8Array): Buffer {
  const pieces: Buffer[] = [];
  for (let offset = 0; offset < bytes.length; offset += 1000) {
    pieces.push(writeOctetString(bytes.subarray(offset, offset + 1000)));
  }
  return writeIndefinite(TAG.OCTET_STRING | 0x20, ...pieces);
}
