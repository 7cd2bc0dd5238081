// First: @peculiar/x509 throws at import without it.
import 'reflect-metadata';
import { randomBytes, randomUUID, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { Push, PushCertificate } from '../../push/apns-client.ts';
import type { FakeApns } from '../../simulator/fake-apns.ts';

export const TOPIC = 'com.apple.mgmt.External.11111111-2222-3333-4444-555555555555';

/** A self-signed client certificate whose subject's UID is the topic (EC P-256: fast to make). */
export async function makeClientCertificate(
  topic: string = TOPIC,
): Promise<{ certificatePem: string; privateKeyPem: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: randomBytes(8).toString('hex'),
      name: [{ '0.9.2342.19200300.100.1.1': [topic] }, { CN: [`APSP:${topic}`] }],
      notBefore: new Date(Date.now() - 86_400_000),
      notAfter: new Date(Date.now() + 86_400_000),
      signingAlgorithm: algorithm,
      keys,
    },
    webcrypto,
  );
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { certificatePem: certificate.toString('pem'), privateKeyPem: x509.PemConverter.encode(key, 'PRIVATE KEY') };
}

/** A push certificate as the client is given it, for this fake. */
export async function makeCertificateFor(fake: FakeApns, topic: string = TOPIC, version = 1): Promise<PushCertificate> {
  return { topic, version, url: fake.url, caPem: fake.caPem, ...(await makeClientCertificate(topic)) };
}

export function makePush(overrides: Partial<Push> = {}): Push {
  const uuid = randomUUID();
  return {
    id: `host-${uuid}`,
    topic: TOPIC,
    token: randomBytes(32),
    pushMagic: uuid.toUpperCase(),
    apnsId: uuid,
    ...overrides,
  };
}

export function makePushes(count: number, overrides: Partial<Push> = {}): Push[] {
  return Array.from({ length: count }, () => makePush(overrides));
}

/** Waits until `condition` holds; fails after 10 s. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) {
      throw new Error(`not within 10 s: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
