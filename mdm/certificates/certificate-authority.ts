/** The server's own device authority: makes itself, and certificates for devices (apple-protocols §3.7). */
import { createPrivateKey, generateKeyPair, type KeyObject, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { OID } from '../cms/oids.ts';
import { writeInteger, writeSequence, writeTrue } from '../cms/write-der.ts';
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import { type DeviceCertificate, readCertificate } from './read-certificate.ts';
import { readCertificateRequest } from './read-certificate-request.ts';
import { readPem, writePem } from './read-pem.ts';
import {
  KEY_USAGE,
  keyIdentifierOf,
  publicKeyInfoOf,
  writeAuthorityKeyIdentifier,
  writeCertificate,
  writeExtendedKeyUsage,
  writeExtension,
  writeKeyUsage,
  writeName,
  writeSubjectKeyIdentifier,
} from './write-certificate.ts';

export interface CertificateAuthority {
  readonly certificatePem: string;
  /** PKCS#8, unencrypted: to be encrypted before it is stored. */
  readonly privateKeyPem: string;
}

export interface DeviceCertificateOptions {
  /** Validity in days; never beyond the authority's own end. */
  days: number;
  /**
   * Replaces the **whole** subject by `CN=…`. Everything in a request's subject is the requester's claim; a serial number
   * left in it could name another device.
   */
  commonName?: string;
  now?: Date;
}

const DAY_MS = 86_400_000;
/** Devices' clocks run behind. */
const BACKDATING_MS = 10 * 60_000;
const generateKeys = promisify(generateKeyPair);

/** Makes a self-signed RSA-2048 authority that may sign device certificates but no further authorities. */
export async function createCertificateAuthority(options: {
  commonName: string;
  years: number;
}): Promise<CertificateAuthority> {
  const { privateKey, publicKey } = await generateKeys('rsa', { modulusLength: 2048 });
  const name = writeName([{ type: OID.commonName, value: options.commonName }]);
  const publicKeyInfo = publicKeyInfoOf(publicKey);
  const notBefore = new Date(Date.now() - BACKDATING_MS);
  const notAfter = new Date(notBefore);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + options.years);
  const { keyCertSign, crlSign, digitalSignature, keyEncipherment } = KEY_USAGE;
  const der = await writeCertificate(
    {
      serialNumber: randomSerialNumber(),
      issuerName: name,
      subjectName: name,
      notBefore,
      notAfter,
      publicKeyInfo,
      extensions: [
        writeExtension(OID.basicConstraints, true, writeSequence(writeTrue(), writeInteger(0))),
        // The same key signs and decrypts SCEP messages; macOS looks for these usages when it chooses the certificate.
        writeKeyUsage(keyCertSign | crlSign | digitalSignature | keyEncipherment),
        writeSubjectKeyIdentifier(publicKeyInfo),
      ],
    },
    privateKey,
  );
  return {
    certificatePem: writePem('CERTIFICATE', der),
    privateKeyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
}

/**
 * Issues a client certificate for a PKCS#10 request (DER, or PEM text) whose own signature it verifies. Of the request
 * only the key, and without `commonName` the subject, are taken; requested extensions are not. Gives the DER.
 * Error: `csr.invalid`. Throws when the authority itself is malformed.
 */
export async function issueDeviceCertificate(
  ca: CertificateAuthority,
  csr: Buffer | string,
  options: DeviceCertificateOptions,
): Promise<Result<Buffer>> {
  const request = readCertificateRequest(csr);
  if (!request.ok) return request;
  const { publicKeyInfo, subjectName } = request.value;
  if (options.commonName === undefined && subjectName.length <= 2) {
    return fail(new ProtocolError('csr.invalid', 'certificate request: no subject'));
  }
  const { certificate, privateKey } = openAuthority(ca);
  const now = (options.now ?? new Date()).getTime();
  const der = await writeCertificate(
    {
      serialNumber: randomSerialNumber(),
      issuerName: certificate.subjectName,
      subjectName:
        options.commonName === undefined
          ? subjectName
          : writeName([{ type: OID.commonName, value: options.commonName }]),
      notBefore: new Date(now - BACKDATING_MS),
      notAfter: new Date(Math.min(now + options.days * DAY_MS, certificate.notAfter.getTime())),
      publicKeyInfo,
      extensions: [
        writeKeyUsage(KEY_USAGE.digitalSignature | KEY_USAGE.keyEncipherment),
        writeExtendedKeyUsage(OID.clientAuth),
        writeSubjectKeyIdentifier(publicKeyInfo),
        writeAuthorityKeyIdentifier(
          certificate.extensions.subjectKeyIdentifier ?? keyIdentifierOf(publicKeyInfoOf(certificate.publicKey)),
        ),
      ],
    },
    privateKey,
  );
  return ok(der);
}

/** 128 random bits behind a leading one: positive, and always 17 octets (RFC 5280 §4.1.2.2 allows 20). */
function randomSerialNumber(): Buffer {
  const bytes = randomBytes(17);
  bytes[0] = 0x01;
  return bytes;
}

interface OpenAuthority {
  readonly certificate: DeviceCertificate;
  readonly privateKey: KeyObject;
}

/** Parsed once per object, since an enrollment wave issues thousands with the same one. */
const opened = new WeakMap<CertificateAuthority, OpenAuthority>();

function openAuthority(ca: CertificateAuthority): OpenAuthority {
  const known = opened.get(ca);
  if (known !== undefined) return known;
  const [block] = readPem(ca.certificatePem, 1) ?? [];
  const certificate = readCertificate(block?.bytes ?? Buffer.of());
  if (!certificate.ok) throw certificate.error;
  const authority = { certificate: certificate.value, privateKey: createPrivateKey(ca.privateKeyPem) };
  opened.set(ca, authority);
  return authority;
}
