/** The stand-in for APNs, in a process of its own: `BENCH_APNS_PORT`, 0 for any. Told a delay over the channel, it says how many pushes it has accepted. */
import { startFakeApns } from '../simulator/fake-apns.ts';

export interface ApnsReady {
  readonly ready: true;
  readonly url: string;
  readonly caPem: string;
}

const fake = await startFakeApns({
  port: Number(process.env.BENCH_APNS_PORT ?? 0),
  requireClientCertificate: true,
  logSize: 1,
});
process.on('message', (delayMs: number) => {
  fake.delay(delayMs);
  process.send?.(fake.counts.accepted);
});
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true, url: fake.url, caPem: fake.caPem } satisfies ApnsReady);
