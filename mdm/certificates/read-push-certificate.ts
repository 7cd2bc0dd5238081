/** What an administrator uploads as the APNs push certificate (nanomdm §4.2, apple-protocols §2.1). */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { OID } from '../cms/oids.ts';
import { readDer } from '../cms/read-der.ts';
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import { type DeviceCertificate, readCertificate } from './read-certificate.ts';
import { readNameAttributes } from './read-name.ts';
import { type PemBlock, readPem, writePem } from './read-pem.ts';

export interface PushCertificate {
  /** `com.apple.mgmt.…`: what devices subscribe to. */
  readonly topic: string;
  readonly notAfter: Date;
  /** One block each, rewritten: nothing of the upload but the two is kept. */
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

const MAX_LENGTH = 1024 * 1024;

/**
 * Reads concatenated PEM: a certificate and its unencrypted private key in any order, the last of each kind counting.
 * An expired certificate is accepted, and its issuer is not checked.
 * Error: `push-certificate.invalid`, with the texts that NanoMDM's clients know. Never throws.
 */
export function readPushCertificate(pem: string | Buffer): Result<PushCertificate> {
  if (pem.length > MAX_LENGTH) return invalid('push certificate too long');
  let certificateBlock: PemBlock | undefined;
  let keyBlock: PemBlock | undefined;
  // Files glued together without a newline between END and BEGIN are no matter: readPem does not go by lines.
  for (const block of readPem(pem.toString('latin1')) ?? []) {
    if (block.label === 'CERTIFICATE') certificateBlock = block;
    else if (!/^(.+ )?PRIVATE KEY$/.test(block.label)) return invalid(`unrecognized PEM type: "${block.label}"`);
    else if (isEncrypted(block)) return invalid('private key PEM appears to be encrypted');
    else keyBlock = block;
  }
  if (certificateBlock === undefined) return invalid('tls: failed to find any PEM data in certificate input');
  if (keyBlock === undefined) return invalid('tls: failed to find any PEM data in key input');
  const certificate = readCertificate(certificateBlock.bytes);
  if (!certificate.ok) return invalid('x509: malformed certificate');
  const privateKeyPem = writePem(keyBlock.label, keyBlock.bytes);
  const complaint = keyComplaint(certificate.value, privateKeyPem);
  if (complaint !== undefined) return invalid(complaint);
  const topic = topicOf(certificate.value);
  if (topic === undefined) return invalid('no APNs Topic found');
  return ok({
    topic,
    notAfter: certificate.value.notAfter,
    certificatePem: writePem('CERTIFICATE', certificate.value.der),
    privateKeyPem,
  });
}

function isEncrypted(block: PemBlock): boolean {
  return block.label === 'ENCRYPTED PRIVATE KEY' || block.headers.some((line) => /^(DEK-Info|Proc-Type):/.test(line));
}

function keyComplaint(certificate: DeviceCertificate, privateKeyPem: string): string | undefined {
  let key: KeyObject;
  try {
    key = createPrivateKey(privateKeyPem);
  } catch {
    return 'tls: failed to parse private key';
  }
  if (key.asymmetricKeyType !== certificate.publicKey.asymmetricKeyType) {
    return 'tls: private key type does not match public key type';
  }
  return certificate.certificate.checkPrivateKey(key) ? undefined : 'tls: private key does not match public key';
}

/** The first user id in the subject with the right prefix; read from the DER, since Node's text form escapes values. */
function topicOf(certificate: DeviceCertificate): string | undefined {
  const name = readDer(certificate.subjectName, { encoding: 'der' });
  const attributes = name.ok ? (readNameAttributes(name.value) ?? []) : [];
  return attributes.find(({ type, value }) => type === OID.userId && value.startsWith('com.apple.mgmt'))?.value;
}

const invalid = (message: string) => fail(new ProtocolError('push-certificate.invalid', message));
