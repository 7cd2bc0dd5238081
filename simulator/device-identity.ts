/** Keys and certificate requests as a device makes them. */
import { generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { writePem } from '../mdm/certificates/read-pem.ts';
import { publicKeyInfoOf, signatureAlgorithmOf, writeName } from '../mdm/certificates/write-certificate.ts';
import { OID } from '../mdm/cms/oids.ts';
import {
  writeBitString,
  writeExplicit,
  writeInteger,
  writeOid,
  writeSequence,
  writeSet,
  writeText,
} from '../mdm/cms/write-der.ts';

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const generateKeys = promisify(generateKeyPair);
const signOffThread = promisify(sign);

/** RSA-2048, what SCEP profiles ask for, or P-256; made off the main thread. */
export function makeKeyPair(type: 'rsa' | 'ec'): Promise<KeyPair> {
  return type === 'rsa' ? generateKeys('rsa', { modulusLength: 2048 }) : generateKeys('ec', { namedCurve: 'P-256' });
}

/** A PKCS#10 request in PEM, with the SCEP challenge as its challengePassword if there is one. */
export async function makeCsr(
  keyPair: KeyPair,
  subject: { commonName: string; serialNumber?: string; challengePassword?: string },
): Promise<string> {
  const name = writeName([
    { type: OID.commonName, value: subject.commonName },
    ...(subject.serialNumber === undefined ? [] : [{ type: OID.serialNumber, value: subject.serialNumber }]),
  ]);
  const attributes =
    subject.challengePassword === undefined
      ? []
      : [writeSequence(writeOid(OID.challengePassword), writeSet(writeText(subject.challengePassword)))];
  const info = writeSequence(
    writeInteger(0),
    name,
    publicKeyInfoOf(keyPair.publicKey),
    writeExplicit(0, ...attributes),
  );
  const signature = await signOffThread('sha256', info, keyPair.privateKey);
  const der = writeSequence(info, signatureAlgorithmOf(keyPair.privateKey), writeBitString(signature));
  return writePem('CERTIFICATE REQUEST', der);
}
