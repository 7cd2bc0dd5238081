import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { CertificateCache } from '../../../mdm/certificates/certificate-cache.ts';
import { DeviceTrust } from '../../../mdm/certificates/device-trust.ts';
import { readDer } from '../../../mdm/cms/read-der.ts';
import { verifyMdmSignature } from '../../../mdm/cms/verify-mdm-signature.ts';
import { signMdm } from '../../../simulator/mdm-signature.ts';
import { type Identity, makeIdentity, newRsa } from '../certificates/make-certificate.ts';

const body = Buffer.from('<plist version="1.0"><dict><key>Status</key><string>Idle</string></dict></plist>');
const certificates = new CertificateCache({ max: 50 });

interface Sample {
  cms: Buffer;
  signer: Identity;
}

const samples: Sample[] = [];
let trust: DeviceTrust;

beforeAll(async () => {
  const ca = await makeIdentity({ ca: true, commonName: 'CA', keys: newRsa() });
  trust = new DeviceTrust({ ownCaPem: ca.pem });
  for (const signer of [await makeIdentity({ issuer: ca, keys: newRsa() }), await makeIdentity({ issuer: ca })]) {
    for (const signedAttributes of [false, true]) {
      for (const indefiniteLength of [false, true]) {
        for (const attached of [false, true]) {
          const options = { ...signer, certificateDer: signer.der, signedAttributes, indefiniteLength, attached };
          samples.push({
            cms: Buffer.from(signMdm(body, { ...options, extraCertificates: [ca.der] }), 'base64'),
            signer,
          });
        }
      }
    }
  }
});

/** Index of a sample; the samples exist only once the hook has run. */
const anySample = fc.nat({ max: 15 }).map((index) => {
  const sample = samples[index];
  if (sample === undefined) throw new Error('no sample');
  return sample;
});

type Edit = { at: number; kind: 'set' | 'flip' | 'insert' | 'delete' | 'copy'; value: number };

const edits = fc.array(
  fc.record<Edit>({
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    kind: fc.constantFrom('set', 'flip', 'insert', 'delete', 'copy'),
    value: fc.integer({ min: 0, max: 255 }),
  }),
  { minLength: 1, maxLength: 4 },
);

function edit(bytes: Buffer, changes: readonly Edit[]): Buffer {
  let result = Buffer.from(bytes);
  for (const { at, kind, value } of changes) {
    const offset = Math.floor(at * result.length);
    if (kind === 'set') result[offset] = value;
    else if (kind === 'flip') result[offset] = (result[offset] ?? 0) ^ (1 << (value & 7));
    else if (kind === 'insert')
      result = Buffer.concat([result.subarray(0, offset), Buffer.of(value), result.subarray(offset)]);
    else if (kind === 'delete')
      result = Buffer.concat([result.subarray(0, offset), result.subarray(offset + 1 + (value & 7))]);
    else
      result = Buffer.concat([
        result.subarray(0, offset),
        result.subarray(offset, offset + value),
        result.subarray(offset),
      ]);
  }
  return result;
}

/** What the server asks: a signature over this body, by a certificate that it trusts. */
function acceptedHash(header: string, over: Uint8Array): string | undefined {
  const verified = verifyMdmSignature(header, over, certificates);
  if (!verified.ok) {
    expect(verified.error.status).toBe(400);
    return undefined;
  }
  return trust.check(verified.value).ok ? verified.value.sha256 : undefined;
}

describe('no bytes from outside', () => {
  test('verify over a body that was not signed, or pass for another certificate, or make it throw', () => {
    fc.assert(
      fc.property(anySample, edits, edits, ({ cms, signer }, changes, bodyChanges) => {
        const header = edit(cms, changes).toString('base64');
        const changedBody = edit(body, bodyChanges);
        const accepted = acceptedHash(header, body);
        if (accepted !== undefined) expect(accepted).toBe(signer.certificate.sha256);
        if (!changedBody.equals(body)) {
          expect(acceptedHash(cms.toString('base64'), changedBody)).toBeUndefined();
          expect(acceptedHash(header, changedBody)).toBeUndefined();
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('verify when one byte of the signature or its algorithms differs', () => {
    for (const { cms, signer } of samples) {
      const root = readDer(cms, { encoding: 'ber' });
      if (!root.ok) throw root.error;
      const signerInfo = root.value.children[1]?.children[0]?.children.at(-1)?.children[0];
      const signature = signerInfo?.children.at(-1);
      if (signature?.tag !== 0x04) throw new Error('no signature');
      for (let offset = signature.contentStart; offset < signature.contentEnd; offset += 7) {
        const changed = Buffer.from(cms);
        changed[offset] = (changed[offset] ?? 0) ^ 0x01;
        expect(acceptedHash(changed.toString('base64'), body)).toBeUndefined();
      }
      expect(acceptedHash(cms.toString('base64'), body)).toBe(signer.certificate.sha256);
    }
  });

  test('verify when it is cut off anywhere', () => {
    for (const { cms } of samples.slice(0, 4)) {
      for (let length = 1; length < cms.length; length += 1) {
        expect(acceptedHash(cms.subarray(0, length).toString('base64'), body)).toBeUndefined();
      }
    }
  });

  test('are taken for a signature when they are text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.base64String({ maxLength: 400 })), (header) => {
        expect(acceptedHash(header, body)).toBeUndefined();
      }),
      { numRuns: 2000 },
    );
  });
});
