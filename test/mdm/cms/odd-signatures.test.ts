import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { CertificateCache } from '../../../mdm/certificates/certificate-cache.ts';
import { OID } from '../../../mdm/cms/oids.ts';
import { verifyMdmSignature } from '../../../mdm/cms/verify-mdm-signature.ts';
import {
  writeAlgorithm,
  writeElement,
  writeExplicit,
  writeInteger,
  writeNull,
  writeOctetString,
  writeOid,
  writeSequence,
  writeTime,
} from '../../../mdm/cms/write-der.ts';
import { type Identity, makeIdentity, newRsa } from '../certificates/make-certificate.ts';
import { attribute, type Craft, craftSignature } from './craft-signature.ts';

const body = Buffer.from('<plist version="1.0"/>');
const contentType = attribute(OID.contentType, writeOid(OID.data));
const digest = attribute(OID.messageDigest, writeOctetString(createHash('sha256').update(body).digest()));

let ca: Identity;
let signer: Identity;
let sibling: Identity;
let ec: Identity;

beforeAll(async () => {
  ca = await makeIdentity({ ca: true, commonName: 'CA' });
  signer = await makeIdentity({ issuer: ca, keys: newRsa(), commonName: 'signer' });
  sibling = await makeIdentity({ issuer: ca, commonName: 'sibling' });
  ec = await makeIdentity({ issuer: ca, commonName: 'ec' });
});

function outcome(craft: Partial<Craft>): string | undefined {
  const result = verifyMdmSignature(craftSignature({ signer, body, ...craft }), body, new CertificateCache());
  return result.ok ? result.value.subject.commonName : result.error.code;
}

describe('soundly signed, oddly built', () => {
  test('the plain crafted signature is good, and so are algorithms without parameters', () => {
    expect(outcome({})).toBe('signer');
    expect(outcome({ signer: ec })).toBe('ec');
    expect(outcome({ attributes: [contentType, digest] })).toBe('signer');
    expect(
      outcome({ digestAlgorithm: writeAlgorithm(OID.sha256), signatureAlgorithm: writeAlgorithm(OID.rsaEncryption) }),
    ).toBe('signer');
    expect(outcome({ signer: ec, signatureAlgorithm: writeAlgorithm(OID.ecPublicKey) })).toBe('ec');
  });

  test('the signer is found by issuer and serial among siblings, wherever it stands', () => {
    expect(outcome({ certificates: [ca.der, sibling.der, signer.der] })).toBe('signer');
    expect(outcome({ certificates: [signer.der, sibling.der] })).toBe('signer');
    expect(outcome({ certificates: [ca.der, sibling.der] })).toBe('certificate.missing');
    expect(outcome({ certificates: [] })).toBe('certificate.missing');
    // Obsolete and attribute certificates are passed over, whatever they hold.
    expect(outcome({ certificates: [writeElement(0xa1, writeInteger(1)), signer.der] })).toBe('signer');
  });

  test('the same serial number from another issuer is another certificate', async () => {
    const otherCa = await makeIdentity({ ca: true, commonName: 'Other CA' });
    const serialNumber = Buffer.from(signer.certificate.serialNumber, 'hex');
    const namesake = await makeIdentity({ issuer: otherCa, commonName: 'namesake', serialNumber });
    expect(outcome({ certificates: [namesake.der, signer.der] })).toBe('signer');
    expect(outcome({ certificates: [namesake.der] })).toBe('certificate.missing');
  });

  test('a sound signature over the body does not excuse other content attached (nanomdm §10 #93)', () => {
    expect(outcome({ content: body })).toBe('signer');
    expect(outcome({ content: Buffer.from('<plist/>') })).toBe('cms.signature');
    expect(outcome({ content: Buffer.of() })).toBe('cms.signature');
  });

  test.each([
    ['no attributes in the set', () => [], 'cms.signature'],
    ['no content type', () => [digest], 'cms.signature'],
    ['no digest', () => [contentType], 'cms.signature'],
    ['another content type', () => [attribute(OID.contentType, writeOid(OID.signedData)), digest], 'cms.signature'],
    [
      'another digest',
      () => [contentType, attribute(OID.messageDigest, writeOctetString(Buffer.alloc(32)))],
      'cms.signature',
    ],
    ['a digest twice', () => [contentType, digest, digest], 'cms.syntax'],
    [
      'two digests in one attribute',
      () => [
        contentType,
        attribute(OID.messageDigest, writeOctetString(Buffer.alloc(32)), writeOctetString(Buffer.alloc(32))),
      ],
      'cms.syntax',
    ],
    ['an attribute without value', () => [contentType, digest, attribute('1.2.3')], 'cms.syntax'],
    ['something that is no attribute', () => [contentType, digest, writeInteger(1)], 'cms.syntax'],
    ['an unknown attribute', () => [contentType, digest, attribute('1.2.3', writeNull())], 'signer'],
    ['a signing time now', () => [contentType, digest, attribute(OID.signingTime, writeTime(new Date()))], 'signer'],
    [
      'a signing time before the certificate',
      () => [contentType, digest, attribute(OID.signingTime, writeTime(new Date('2001-01-01')))],
      'cms.signature',
    ],
    [
      'a signing time after the certificate',
      () => [contentType, digest, attribute(OID.signingTime, writeTime(new Date('2151-01-01')))],
      'cms.signature',
    ],
    [
      'a signing time that is none',
      () => [contentType, digest, attribute(OID.signingTime, writeNull())],
      'cms.signature',
    ],
  ] as const)('signed attributes: %s', (_what, attributes, expected) => {
    expect(outcome({ attributes: attributes() })).toBe(expected);
  });

  test('algorithms with parameters that would change their meaning, or that contradict each other', () => {
    const odd = writeSequence(writeInteger(1));
    expect(outcome({ signatureAlgorithm: writeAlgorithm(OID.rsaEncryption, odd) })).toBe('cms.unsupported');
    expect(outcome({ digestAlgorithm: writeAlgorithm(OID.sha256, odd) })).toBe('cms.unsupported');
    expect(outcome({ digestAlgorithm: writeAlgorithm(OID.sha512, writeNull()) })).toBe('cms.signature');
    expect(outcome({ signatureAlgorithm: writeAlgorithm(OID.sha512WithRsa, writeNull()) })).toBe('cms.unsupported');
    expect(outcome({ signer: ec, signatureAlgorithm: writeAlgorithm(OID.ecdsaWithSha1) })).toBe('cms.unsupported');
    expect(outcome({ signatureAlgorithm: writeAlgorithm(OID.ecdsaWithSha256) })).toBe('cms.unsupported');
    expect(outcome({ signatureAlgorithm: writeSequence(writeInteger(1)) })).toBe('cms.syntax');
    expect(outcome({ signatureAlgorithm: writeSequence(writeOid(OID.rsaEncryption), writeNull(), writeNull()) })).toBe(
      'cms.syntax',
    );
  });

  test('unsigned attributes are passed over, other fields are not', () => {
    expect(outcome({ trailer: [writeExplicit(1, attribute('1.2.3', writeNull()))] })).toBe('signer');
    expect(outcome({ trailer: [writeNull()] })).toBe('cms.syntax');
  });
});
