import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { transaction } from '../db/transaction.ts';
import { foldEnrollmentId } from '../mdm/enrollment-id.ts';
import { makePushCertificate } from '../simulator/make-push-certificate.ts';
import type { BenchOptions } from './bench-options.ts';
import type { BenchSystem, BenchTarget } from './bench-system.ts';
import { BENCH_TOPIC } from './load-fleet.ts';
import type { LoadResult } from './load-runs.ts';
import { costBetween, takeSnapshot } from './measure.ts';
import { type Program, startProgram } from './program.ts';
import { POLLING, plain, type Sample, sampleOf } from './run-phases.ts';

/** A peer that pushes five at a time needs seconds for such a call when APNs is 50 ms away. */
const IDS_PER_CALL = 300;
const DELAYS_MS = [0, 50];
const CALLERS = [1, 8];

/** Pushes that the stand-in for APNs received per second: by calls of the admin API, and for ours by the workers too. */
export async function runPushes(
  system: BenchSystem,
  options: BenchOptions,
  tell: (line: string) => void,
): Promise<Sample[]> {
  const folder = mkdtempSync(join(tmpdir(), 'espalier-bench-apns-'));
  const apns = await startProgram('bench/apns-main.ts', {
    logFile: join(folder, 'apns.log'),
    variables: { BENCH_APNS_PORT: String(options.apnsPort) },
  });
  try {
    await pointAt(apns, system, options);
    const samples: Sample[] = [];
    for (let run = 0; run < options.runs; run += 1) {
      for (const delayMs of DELAYS_MS) {
        for (const target of system.targets) {
          for (const concurrency of CALLERS)
            samples.push(await byCalls({ system, apns, target, delayMs, concurrency, run }, options));
        }
        samples.push(await byWorkers(system, apns, delayMs, run));
        tell(`run ${run + 1}, pushes, APNs ${delayMs} ms away`);
      }
    }
    return samples;
  } finally {
    await apns.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function pointAt({ ready }: Program, { targets }: BenchSystem, { apnsCaFile }: BenchOptions): Promise<void> {
  const { url = '', caPem = '' } = ready;
  if (apnsCaFile !== undefined) writeFileSync(apnsCaFile, caPem);
  const certificate = await makePushCertificate(BENCH_TOPIC);
  for (const { name, admin } of targets) {
    await admin.putPushCertificate(certificate);
    if (name === 'espalier') await admin.putApns(BENCH_TOPIC, { url, ca: caPem });
  }
}

/** Sets the delay. @returns pushes accepted so far */
function tellApns({ child }: Program, delayMs: number): Promise<number> {
  return new Promise((resolve) => {
    child.once('message', (accepted) => resolve(Number(accepted)));
    child.send(delayMs);
  });
}

interface Calls {
  readonly system: BenchSystem;
  readonly apns: Program;
  readonly target: BenchTarget;
  readonly delayMs: number;
  readonly concurrency: number;
  readonly run: number;
}

async function byCalls(
  { system, apns, target, delayMs, concurrency, run }: Calls,
  { seconds, devices }: BenchOptions,
): Promise<Sample> {
  const idsPerCall = Math.min(IDS_PER_CALL, devices);
  const acceptedBefore = await tellApns(apns, delayMs);
  const before = await takeSnapshot(system.db, target.pids);
  const order = { act: 'push', fleet: POLLING, idsPerCall, target: plain(target), concurrency, seconds } as const;
  const result = await system.load.run(order);
  const cost = costBetween(before, await takeSnapshot(system.db, target.pids));
  const accepted = (await tellApns(apns, delayMs)) - acceptedBefore;
  if (accepted !== result.count * idsPerCall) throw new Error(`APNs got ${accepted} pushes of ${result.count} calls`);
  const phase = `pushes by API, ${delayMs} ms`;
  return sampleOf(phase, target, { concurrency, run }, { results: [result], cost, unitsEach: idsPerCall });
}

/** From the commit that owes a push for every device to the last push. */
async function byWorkers(
  { db, load, targets }: BenchSystem,
  apns: Program,
  delayMs: number,
  run: number,
): Promise<Sample> {
  const [target] = targets;
  if (target === undefined) throw new Error('no target');
  const keys = (await load.idsOf(POLLING)).map(foldEnrollmentId);
  const rows = await db.rows<{ id: number }>('SELECT id FROM enrollments WHERE enrollment_key IN (?)', [keys]);
  const wanted = (await tellApns(apns, delayMs)) + rows.length;
  const before = await takeSnapshot(db, target.pids);
  const startedAt = performance.now();
  const ids = rows.map((row) => String(row.id));
  await transaction(db, async (t) => void t.owe('push.send', ids, { bulk: true }));
  while ((await tellApns(apns, delayMs)) < wanted) await new Promise((resolve) => setTimeout(resolve, 5));
  const seconds = (performance.now() - startedAt) / 1_000;
  const cost = costBetween(before, await takeSnapshot(db, target.pids));
  const latencies = Float64Array.of(seconds * 1_000);
  const result: LoadResult = { count: rows.length, requests: rows.length, seconds, latencies };
  return sampleOf(
    `pushes by workers, ${delayMs} ms`,
    target,
    { concurrency: 1, run },
    { results: [result], cost, unitsEach: 1 },
  );
}
