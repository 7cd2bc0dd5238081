import { describe, expect, test } from 'vitest';
import { ApnsClient, type PushCertificate } from '../../push/apns-client.ts';
import { Circuit } from '../../push/circuit.ts';
import { Fifo } from '../../push/fifo.ts';
import { startFakeApns } from '../../simulator/fake-apns.ts';
import { makeCertificateFor, makePush, makePushes } from './push-fixtures.ts';

describe('the circuit', () => {
  test('nanomdm §10 #58: opens after 5 failures in a row, a success in between starts the count again', () => {
    const circuit = new Circuit({ now: () => 0 });
    for (let failure = 1; failure <= 4; failure += 1) {
      expect(circuit.failed()).toBeUndefined();
    }
    circuit.succeeded();
    for (let failure = 1; failure <= 4; failure += 1) {
      circuit.failed();
      expect(circuit.admit()).toEqual({ admitted: true, isProbe: false });
    }
    expect(circuit.failed()).toBe(5000);
    expect(circuit.admit()).toEqual({ admitted: false, retryAfterMs: 5000 });
  });

  test('lets one probe through; each that fails doubles the rest, up to two minutes; one that succeeds closes', () => {
    let now = 0;
    const circuit = new Circuit({ failures: 1, now: () => now });
    const rests = [circuit.failed()];
    for (let probe = 0; probe < 7; probe += 1) {
      now += rests.at(-1) ?? 0;
      expect(circuit.admit()).toEqual({ admitted: true, isProbe: true });
      expect(circuit.admit()).toMatchObject({ admitted: false });
      rests.push(circuit.failed());
    }
    expect(rests).toEqual([5000, 10_000, 20_000, 40_000, 80_000, 120_000, 120_000, 120_000]);
    now += 120_000;
    circuit.admit();
    circuit.succeeded();
    expect(circuit.admit()).toEqual({ admitted: true, isProbe: false });
  });

  test('stragglers that fail while it is open change nothing', () => {
    const circuit = new Circuit({ failures: 1, now: () => 0 });
    circuit.failed();
    expect(circuit.failed()).toBeUndefined();
    expect(circuit.admit()).toEqual({ admitted: false, retryAfterMs: 5000 });
  });

  test('a probe that never touched the network lets the next one through', () => {
    let now = 0;
    const circuit = new Circuit({ failures: 1, now: () => now });
    circuit.failed();
    now = 5000;
    circuit.admit();
    circuit.probeEnded();
    expect(circuit.admit()).toEqual({ admitted: true, isProbe: true });
  });
});

test('the client refuses quickly while Apple is away, then asks with one push, then sends the rest', async () => {
  let fake = await startFakeApns({ requireClientCertificate: true });
  const { port, certificate: tlsCertificate } = fake;
  const certificate: PushCertificate = await makeCertificateFor(fake);
  await fake.close();
  let now = 1_000_000;
  const client = new ApnsClient({ certificateFor: async () => certificate, now: () => now });
  // Many pushes lost at the same time are one incident.
  for (let incident = 0; incident < 5; incident += 1) {
    const results = await client.send(makePushes(20));
    expect(results.every(({ outcome, error }) => outcome === 'retry' && error?.includes('ECONNREFUSED'))).toBe(true);
  }
  const refused = await client.send(makePushes(3));
  expect(refused).toMatchObject(refused.map(() => ({ outcome: 'retry', retryAfterMs: 5000 })));
  expect(refused[0]?.error).toBe('APNs does not answer; not tried again yet');

  now += 5000;
  const probed = await client.send(makePushes(3));
  expect(probed[0]?.error).toContain('ECONNREFUSED');
  expect(probed.slice(1)).toMatchObject([{ retryAfterMs: 10_000 }, { retryAfterMs: 10_000 }]);

  fake = await startFakeApns({ port, certificate: tlsCertificate, requireClientCertificate: true });
  expect((await client.send([makePush()]))[0]?.retryAfterMs).toBe(10_000);
  now += 10_000;
  const results = await client.send(makePushes(200));
  expect(results.every(({ outcome }) => outcome === 'sent')).toBe(true);
  await client.close();
  await fake.close();
});

test('a long queue comes out as it went in', () => {
  const fifo = new Fifo<number>();
  const out: number[] = [];
  for (let item = 0; item < 10_000; item += 1) {
    fifo.add(item);
    if (item % 3 === 0) {
      out.push(fifo.take() ?? -1);
    }
  }
  while (fifo.size > 10) {
    out.push(fifo.take() ?? -1);
  }
  out.push(...fifo.takeAll());
  expect(out).toEqual(Array.from({ length: 10_000 }, (_, index) => index));
  expect(fifo.take()).toBeUndefined();
  expect(fifo.size).toBe(0);
});
