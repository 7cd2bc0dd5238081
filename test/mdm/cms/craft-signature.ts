import { sign } from 'node:crypto';
import { OID } from '../../../mdm/cms/oids.ts';
import { readDer } from '../../../mdm/cms/read-der.ts';
import {
  writeAlgorithm,
  writeElement,
  writeExplicit,
  writeInteger,
  writeNull,
  writeOctetString,
  writeOid,
  writeSequence,
  writeSet,
} from '../../../mdm/cms/write-der.ts';
import type { Identity } from '../certificates/make-certificate.ts';

export interface Craft {
  signer: Identity;
  /** What is signed where there are no attributes. */
  body: Buffer;
  /** Encoded attributes; their signature is good whatever they say. */
  attributes?: readonly Buffer[];
  /** All embedded certificates; the signer's by default. */
  certificates?: readonly Buffer[];
  /** Attached content. */
  content?: Buffer;
  digestAlgorithm?: Buffer;
  signatureAlgorithm?: Buffer;
  /** Extra fields at the end of the SignerInfo. */
  trailer?: readonly Buffer[];
}

export const attribute = (type: string, ...values: readonly Buffer[]): Buffer =>
  writeSequence(writeOid(type), writeElement(0x31, ...values));

/** A SHA-256 signature that is sound but for what a test makes odd about it, which no ordinary writer would. */
export function craftSignature(craft: Craft): string {
  const { signer, attributes } = craft;
  const digestAlgorithm = craft.digestAlgorithm ?? writeAlgorithm(OID.sha256, writeNull());
  const plain = signer.publicKey.asymmetricKeyType === 'ec' ? writeAlgorithm(OID.ecdsaWithSha256) : undefined;
  const set = attributes === undefined ? undefined : writeSet(...attributes);
  const certificate = readDer(signer.der, { encoding: 'der' });
  const serial = certificate.ok ? certificate.value.children[0]?.children[1]?.raw : undefined;
  const signerInfo = writeSequence(
    writeInteger(1),
    writeSequence(signer.certificate.issuerName, serial ?? Buffer.of()),
    digestAlgorithm,
    ...(set === undefined ? [] : [Buffer.concat([Buffer.of(0xa0), set.subarray(1)])]),
    craft.signatureAlgorithm ?? plain ?? writeAlgorithm(OID.rsaEncryption, writeNull()),
    writeOctetString(sign('sha256', set ?? craft.body, signer.privateKey)),
    ...(craft.trailer ?? []),
  );
  const signedData = writeSequence(
    writeInteger(1),
    writeSet(digestAlgorithm),
    writeSequence(
      writeOid(OID.data),
      ...(craft.content === undefined ? [] : [writeExplicit(0, writeOctetString(craft.content))]),
    ),
    writeExplicit(0, ...(craft.certificates ?? [signer.der])),
    writeSet(signerInfo),
  );
  return writeSequence(writeOid(OID.signedData), writeExplicit(0, signedData)).toString('base64');
}
