import { randomBytes, randomUUID } from 'node:crypto';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { ApnsClient, type Push, type PushCertificate } from '../push/apns-client.ts';
import { startFakeApns } from '../simulator/fake-apns.ts';
import { makePushCertificate } from '../simulator/make-push-certificate.ts';

/**
 * Pushes per second of one client over one connection, against the fake APNs in a thread of its own: with no delay, and
 * with every answer 50 ms late (a round trip to Apple). Runs about ten seconds. Compare performance-baseline (f).
 */
const RUN_MS = 1200;
const BATCH = 10_000;
const ROWS: readonly { readonly delayMs: number; readonly inFlight: number }[] = [
  { delayMs: 0, inFlight: 1 },
  { delayMs: 0, inFlight: 100 },
  { delayMs: 0, inFlight: 500 },
  { delayMs: 0, inFlight: 1000 },
  { delayMs: 50, inFlight: 100 },
  { delayMs: 50, inFlight: 500 },
  { delayMs: 50, inFlight: 1000 },
];

interface FakeAddress {
  readonly url: string;
  readonly caPem: string;
}

if (isMainThread) {
  await benchmark();
} else {
  await serve();
}

async function serve(): Promise<void> {
  const fake = await startFakeApns({ requireClientCertificate: true, maxConcurrentStreams: 1000, logSize: 100 });
  const address: FakeAddress = { url: fake.url, caPem: fake.caPem };
  parentPort?.on('message', (delayMs: number) => {
    fake.delay(delayMs);
    parentPort?.postMessage('ready');
  });
  parentPort?.postMessage(address);
}

async function benchmark(): Promise<void> {
  const worker = new Worker(new URL(import.meta.url));
  const heard = (): Promise<FakeAddress> => new Promise((resolve) => worker.once('message', resolve));
  const address = await heard();
  const topic = `com.apple.mgmt.External.${randomUUID()}`;
  // Certificate and key in one PEM text; TLS takes from it what it needs.
  const pem = await makePushCertificate(topic);
  const certificate: PushCertificate = { certificatePem: pem, privateKeyPem: pem, ...address, topic, version: 1 };
  console.log('delay ms | in flight | pushes/s | client CPU ms/push | p50 ms | p99 ms');
  for (const row of ROWS) {
    const ready = heard();
    worker.postMessage(row.delayMs);
    await ready;
    console.log(await measure(certificate, row));
  }
  console.log(`one send() of ${BATCH} pushes, 50 ms: ${await measureBatch(certificate)} pushes/s`);
  await worker.terminate();
}

async function measure(certificate: PushCertificate, row: (typeof ROWS)[number]): Promise<string> {
  const client = new ApnsClient({ certificateFor: async () => certificate, certificateTtlMs: 60_000 });
  await client.send(makePushes(certificate.topic, row.inFlight));
  const latencies: number[] = [];
  const before = process.threadCpuUsage();
  const startedAt = performance.now();
  const lane = async (): Promise<void> => {
    while (performance.now() - startedAt < RUN_MS) {
      const sentAt = performance.now();
      const [result] = await client.send(makePushes(certificate.topic, 1));
      if (result?.outcome !== 'sent') {
        throw new Error(`a push was not sent: ${result?.error}`);
      }
      latencies.push(performance.now() - sentAt);
    }
  };
  await Promise.all(Array.from({ length: row.inFlight }, lane));
  const seconds = (performance.now() - startedAt) / 1000;
  const cpu = process.threadCpuUsage(before);
  await client.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number): string => (latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(1);
  const cpuMs = ((cpu.user + cpu.system) / 1000 / latencies.length).toFixed(3);
  const columns = [row.delayMs, row.inFlight, Math.round(latencies.length / seconds), cpuMs, at(0.5), at(0.99)];
  const widths = [8, 9, 8, 18, 6, 6];
  return columns.map((column, index) => String(column).padStart(widths[index] ?? 0)).join(' | ');
}

/** As a worker sends: one call, connection already up. */
async function measureBatch(certificate: PushCertificate): Promise<number> {
  const client = new ApnsClient({ certificateFor: async () => certificate });
  await client.send(makePushes(certificate.topic, 1));
  const pushes = makePushes(certificate.topic, BATCH);
  const startedAt = performance.now();
  await client.send(pushes);
  const seconds = (performance.now() - startedAt) / 1000;
  await client.close();
  return Math.round(BATCH / seconds);
}

function makePushes(topic: string, count: number): Push[] {
  return Array.from({ length: count }, (_, index) => {
    const apnsId = randomUUID();
    return { id: String(index), topic, token: randomBytes(32), pushMagic: apnsId, apnsId };
  });
}
