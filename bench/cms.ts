/**
 * Verifications of an Mdm-Signature per second: ours against pkijs and against the bare native signature check, on one
 * thread in one run. Only the ratios mean something from one machine to another. `node bench/cms.ts`
 */
import { hash, sign, verify } from 'node:crypto';
import * as pkijs from 'pkijs';
import { createCertificateAuthority, issueDeviceCertificate } from '../mdm/certificates/certificate-authority.ts';
import { CertificateCache } from '../mdm/certificates/certificate-cache.ts';
import { DeviceTrust } from '../mdm/certificates/device-trust.ts';
import { readSignedData } from '../mdm/cms/read-signed-data.ts';
import { verifyMdmSignature } from '../mdm/cms/verify-mdm-signature.ts';
import { makeCsr, makeKeyPair } from '../simulator/device-identity.ts';
import { signMdm } from '../simulator/mdm-signature.ts';

const ROUNDS = 5;
const ROUND_MS = 300;

/** Median calls per second over a few rounds, after one that is not counted; `run` says how many calls it made. */
async function perSecond(run: () => number | Promise<number>): Promise<number> {
  const rates: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const startedAt = performance.now();
    let calls = 0;
    while (performance.now() - startedAt < ROUND_MS) {
      calls += await run();
    }
    if (round > 0) rates.push((calls * 1000) / (performance.now() - startedAt));
  }
  return rates.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
}

/** Sync calls in blocks, so that awaiting them does not count. */
const blockOf = (call: () => boolean) => (): number => {
  for (let index = 0; index < 100; index += 1) if (!call()) throw new Error('not verified');
  return 100;
};

const body = Buffer.from(
  '<plist version="1.0"><dict><key>Status</key><string>Idle</string></dict></plist>'.padEnd(302),
);
const ca = await createCertificateAuthority({ commonName: 'Bench CA', years: 1 });

for (const type of ['rsa', 'ec'] as const) {
  const keyPair = await makeKeyPair(type);
  const issued = await issueDeviceCertificate(ca, await makeCsr(keyPair, { commonName: 'device' }), { days: 30 });
  if (!issued.ok) throw issued.error;
  const identity = { privateKey: keyPair.privateKey, certificateDer: issued.value };
  const der = signMdm(body, identity);
  const ber = signMdm(body, { ...identity, indefiniteLength: true });
  const bytes = Buffer.from(der, 'base64');
  const signature = sign('sha256', body, keyPair.privateKey);
  const certificates = new CertificateCache();
  const trust = new DeviceTrust({ ownCaPem: ca.certificatePem });
  const accepted = (header: string, cache: CertificateCache): boolean => {
    const certificate = verifyMdmSignature(header, body, cache);
    return certificate.ok && trust.check(certificate.value).ok;
  };

  const measured = {
    'ours, DER, trusted certificate known': await perSecond(blockOf(() => accepted(der, certificates))),
    'ours, BER, trusted certificate known': await perSecond(blockOf(() => accepted(ber, certificates))),
    'ours, certificate parsed each time': await perSecond(
      blockOf(() => accepted(der, new CertificateCache({ max: 1 }))),
    ),
    'ours, taking the CMS apart only': await perSecond(blockOf(() => readSignedData(bytes).ok)),
    'SHA-256 of the certificate only': await perSecond(blockOf(() => hash('sha256', issued.value) !== '')),
    'bare native verify': await perSecond(blockOf(() => verify('sha256', body, keyPair.publicKey, signature))),
    'pkijs, no trust check': await perSecond(async () => {
      const info = pkijs.ContentInfo.fromBER(Buffer.from(der, 'base64'));
      const signedData = new pkijs.SignedData({ schema: info.content });
      const data = Uint8Array.from(body).buffer;
      if (!(await signedData.verify({ signer: 0, data, checkChain: false }))) throw new Error('not verified');
      return 1;
    }),
  };
  const reference = measured['pkijs, no trust check'];
  console.log(
    `\n${type === 'rsa' ? 'RSA-2048' : 'P-256'}, SHA-256, ${body.length} byte body, ${bytes.length} byte signature`,
  );
  for (const [name, rate] of Object.entries(measured)) {
    const ratio = (rate / reference).toFixed(1);
    console.log(`  ${name.padEnd(38)} ${Math.round(rate).toString().padStart(9)}/s  ${ratio.padStart(7)} × pkijs`);
  }
}
