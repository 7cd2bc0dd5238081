import { beforeAll, describe, expect, test } from 'vitest';
import { CertificateCache } from '../../../mdm/certificates/certificate-cache.ts';
import { verifyMdmSignature } from '../../../mdm/cms/verify-mdm-signature.ts';
import { type MdmSignatureOptions, signMdm } from '../../../simulator/mdm-signature.ts';
import { type Identity, makeIdentity, newRsa } from '../certificates/make-certificate.ts';
import { openssl, pemOfKey } from './openssl.ts';
import { bufferOf, pkijsSignedData, pkijsVerifies } from './pkijs-verify.ts';

const body = Buffer.from('<plist version="1.0"><dict><key>Status</key><string>Idle</string></dict></plist>');
const other = Buffer.from('<plist version="1.0"><dict><key>Status</key><string>Idlf</string></dict></plist>');
const digests = ['sha1', 'sha256', 'sha384', 'sha512'] as const;

let ca: Identity;
const signers: Identity[] = [];

beforeAll(async () => {
  ca = await makeIdentity({ ca: true, commonName: 'Oracle CA', keys: newRsa() });
  signers.push(await makeIdentity({ issuer: ca, keys: newRsa() }), await makeIdentity({ issuer: ca }));
});

/** Every shape that the simulator can send. */
function* shapes(): Generator<Omit<MdmSignatureOptions, 'privateKey' | 'certificateDer'>> {
  for (const digest of digests) {
    for (const signedAttributes of [false, true]) {
      for (const indefiniteLength of [false, true]) {
        for (const attached of [false, true]) yield { digest, signedAttributes, indefiniteLength, attached };
      }
    }
  }
}

describe("the simulator's signatures", () => {
  test('verify here and with pkijs in every shape, and with neither over another body', async () => {
    const certificates = new CertificateCache();
    for (const signer of signers) {
      for (const shape of shapes()) {
        const header = signMdm(body, { ...shape, ...signer, certificateDer: signer.der, extraCertificates: [ca.der] });
        const what = JSON.stringify({ ...shape, key: signer.privateKey.asymmetricKeyType });
        expect(verifyMdmSignature(header, body, certificates).ok, what).toBe(true);
        expect(verifyMdmSignature(header, other, certificates).ok, what).toBe(false);
        expect(await pkijsVerifies(header, body), what).toBe(true);
        if (!shape.attached) expect(await pkijsVerifies(header, other), what).toBe(false);
      }
    }
  });

  test('verify with openssl, which also finds the chain', () => {
    for (const signer of signers) {
      for (const indefiniteLength of [false, true]) {
        for (const signedAttributes of [false, true]) {
          const options = { ...signer, certificateDer: signer.der, indefiniteLength, signedAttributes };
          const cms = Buffer.from(signMdm(body, options), 'base64');
          const args = ['cms', '-verify', '-inform', 'DER', '-in', 'cms', '-content', 'body', '-binary'];
          const files = { cms, body, 'ca.pem': ca.pem };
          expect(openssl([...args, '-CAfile', 'ca.pem', '-purpose', 'any'], files).equals(body)).toBe(true);
          expect(() => openssl([...args, '-noverify'], { ...files, body: other })).toThrow();
        }
      }
    }
  });
});

describe('signatures that pkijs makes', () => {
  test.each([
    ['RSA', 0],
    ['P-256', 1],
  ] as const)('%s: with and without attributes, detached and attached', async (_what, index) => {
    const signer = signers[index];
    if (signer === undefined) throw new Error('no signer');
    for (const withAttributes of [false, true]) {
      for (const attached of [false, true]) {
        const header = await pkijsSignedData(body, signer, { withAttributes, attached });
        const result = verifyMdmSignature(header, body, new CertificateCache());
        expect(result, `${withAttributes} ${attached}`).toMatchObject({
          ok: true,
          value: { sha256: signer.certificate.sha256 },
        });
        expect(verifyMdmSignature(header, other, new CertificateCache()).ok).toBe(false);
      }
    }
  });
});

test('the oracles themselves can say no', async () => {
  const [rsa] = signers;
  if (rsa === undefined) throw new Error('no signer');
  const header = signMdm(body, { ...rsa, certificateDer: rsa.der });
  expect(await pkijsVerifies(header, bufferOf(other))).toBe(false);
  expect(() => openssl(['cms', '-verify', '-in', 'key'], { key: pemOfKey(rsa.privateKey) })).toThrow();
});
