/** pkijs as a second opinion on CMS signatures. It takes Node's WebCrypto by itself. */
import { createHash, type KeyObject, webcrypto } from 'node:crypto';
import * as pkijs from 'pkijs';
import { OID } from '../../../mdm/cms/oids.ts';
import { writeExplicit, writeOctetString, writeOid, writeSequence, writeTime } from '../../../mdm/cms/write-der.ts';

/** A copy in an ArrayBuffer of its own, as pkijs wants it. */
export const bufferOf = (bytes: Uint8Array): Buffer<ArrayBuffer> => Buffer.from(Uint8Array.from(bytes).buffer);

/** Whether pkijs accepts a detached or attached signature over `body`; chains are not looked at. */
export async function pkijsVerifies(header: string, body: Uint8Array): Promise<boolean> {
  const info = pkijs.ContentInfo.fromBER(bufferOf(Buffer.from(header, 'base64')));
  const signedData = new pkijs.SignedData({ schema: info.content });
  const isAttached = signedData.encapContentInfo.eContent !== undefined;
  try {
    return await signedData.verify({
      signer: 0,
      checkChain: false,
      ...(isAttached ? {} : { data: bufferOf(body).buffer }),
    });
  } catch (error) {
    // Its way of saying that the digest attribute does not match.
    if (error instanceof pkijs.SignedDataVerifyError) return false;
    throw error;
  }
}

/** A SHA-256 signature made by pkijs, as a header. */
export async function pkijsSignedData(
  body: Uint8Array,
  signer: { privateKey: KeyObject; der: Buffer },
  options: { withAttributes: boolean; attached: boolean },
): Promise<string> {
  const certificate = pkijs.Certificate.fromBER(bufferOf(signer.der));
  const attribute = (type: string, value: Buffer): pkijs.Attribute =>
    new pkijs.Attribute({ type, values: [asn1Of(value)] });
  const digest = createHash('sha256').update(body).digest();
  const signerInfo = new pkijs.SignerInfo({
    version: 1,
    sid: new pkijs.IssuerAndSerialNumber({ issuer: certificate.issuer, serialNumber: certificate.serialNumber }),
    ...(options.withAttributes
      ? {
          signedAttrs: new pkijs.SignedAndUnsignedAttributes({
            type: 0,
            attributes: [
              attribute(OID.contentType, writeOid(OID.data)),
              attribute(OID.signingTime, writeTime(new Date())),
              attribute(OID.messageDigest, writeOctetString(digest)),
            ],
          }),
        }
      : {}),
  });
  const signedData = new pkijs.SignedData({
    version: 1,
    encapContentInfo: new pkijs.EncapsulatedContentInfo({
      eContentType: OID.data,
      ...(options.attached ? { eContent: asn1Of(writeOctetString(body)) } : {}),
    }),
    signerInfos: [signerInfo],
    certificates: [certificate],
  });
  await signedData.sign(await webCryptoKey(signer.privateKey), 0, 'SHA-256', bufferOf(body).buffer);
  const info = new pkijs.ContentInfo({ contentType: OID.signedData, content: signedData.toSchema(true) });
  return Buffer.from(info.toSchema().toBER(false)).toString('base64');
}

/** DER as one of the objects that pkijs works with, taken out of a message that carries it. */
function asn1Of(der: Buffer) {
  return pkijs.ContentInfo.fromBER(bufferOf(writeSequence(writeOid(OID.data), writeExplicit(0, der)))).content;
}

function webCryptoKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const der = key.export({ format: 'der', type: 'pkcs8' });
  const algorithm =
    key.asymmetricKeyType === 'ec'
      ? { name: 'ECDSA', namedCurve: 'P-256' }
      : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  return webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
}
