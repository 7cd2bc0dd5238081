import type { BenchOptions, Phase } from './bench-options.ts';
import type { BenchSystem, BenchTarget } from './bench-system.ts';
import type { LoadResult } from './load-runs.ts';
import { addCosts, type Cost, costBetween, residentMb, takeSnapshot } from './measure.ts';
import { runPushes } from './run-pushes.ts';

/** One measurement: one phase at one concurrency on one target in one run. */
export interface Sample {
  readonly phase: string;
  readonly concurrency: number;
  readonly target: BenchTarget['name'];
  readonly run: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly requests: number;
  readonly cost: Cost;
  readonly rssMb: Readonly<Record<string, number>>;
}

type Measure = (system: BenchSystem, target: BenchTarget, options: BenchOptions, at: Place) => Promise<Measured>;
interface Place {
  readonly concurrency: number;
  readonly run: number;
}
interface Measured {
  readonly results: readonly LoadResult[];
  readonly cost: Cost;
  /** Of one unit of the results: ids of a call. */
  readonly unitsEach: number;
}

const MOST_ROUNDS = 20;
/** A server in service is warm: its code is compiled, the database's pages are in memory. */
const WARM_UP_SECONDS = 2;
const SETTLE_WITHIN_MS = 60_000;
export const POLLING = 'polling';
const QUEUEING = 'queueing';

const MEASURES: Readonly<Record<Exclude<Phase, 'push'>, Measure>> = {
  async enroll(system, target, { seconds }, at) {
    return one(system, target, { act: 'enroll', fleet: freshFleet(at), ...limits(target, at, seconds) });
  },
  async idle(system, target, { seconds }, at) {
    return one(system, target, { act: 'poll', fleet: POLLING, ...limits(target, at, seconds) });
  },
  /** A round is one command for every device; making the next round's answers is not part of what is measured. */
  async cycle(system, target, { seconds }, at) {
    const measured: Measured[] = [];
    let spent = 0;
    while (spent < seconds && measured.length < MOST_ROUNDS) {
      const commandUuid = await system.load.queueForAll({ fleet: POLLING, target: plain(target) });
      await system.load.do({ act: 'prepare', fleet: POLLING, commandUuid });
      const round = await one(system, target, { act: 'cycle', fleet: POLLING, ...limits(target, at, 600) });
      measured.push(round);
      spent += round.results.reduce((sum, result) => sum + result.seconds, 0);
    }
    return {
      results: measured.flatMap((round) => round.results),
      cost: measured.map((round) => round.cost).reduce(addCosts),
      unitsEach: 1,
    };
  },
  async enqueue(system, target, { seconds }, at) {
    return one(system, target, { act: 'enqueue', fleet: QUEUEING, idsPerCall: 1, ...limits(target, at, seconds) });
  },
  async fanout(system, target, { seconds, idsPerCall, devices }, at) {
    const ids = Math.min(idsPerCall, devices);
    const order = { act: 'enqueue', fleet: QUEUEING, idsPerCall: ids, ...limits(target, at, seconds) } as const;
    return { ...(await one(system, target, order)), unitsEach: ids };
  },
};

export const plain = ({ url, apiKey }: BenchTarget) => ({ url, apiKey });
const limits = (target: BenchTarget, { concurrency }: Place, seconds: number) => ({
  target: plain(target),
  concurrency,
  seconds,
});
const freshFleet = ({ concurrency, run }: Place): string => `fresh ${concurrency} ${run}`;

async function one(
  { db, load }: BenchSystem,
  target: BenchTarget,
  order: Parameters<BenchSystem['load']['run']>[0],
): Promise<Measured> {
  const before = await takeSnapshot(db, target.pids);
  const result = await load.run(order);
  return { results: [result], cost: costBetween(before, await takeSnapshot(db, target.pids)), unitsEach: 1 };
}

/** Everything that was asked for, the targets taking turns within each phase, so that a disturbance of the machine spoils neither alone. */
export async function runPhases(
  system: BenchSystem,
  options: BenchOptions,
  tell: (line: string) => void,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const phases = options.phases.filter((phase) => phase !== 'push');
  await prepareFleets(system, options, tell);
  for (let run = 0; run < options.runs; run += 1) {
    for (const concurrency of options.concurrency) {
      const at = { concurrency, run };
      if (phases.includes('enroll')) await makeFleet(system, options, freshFleet(at));
      for (const phase of phases) {
        for (const target of inTurns(system.targets, run)) {
          await settle(system);
          const sample = sampleOf(phase, target, at, await MEASURES[phase](system, target, options, at));
          samples.push(sample);
          tell(`run ${run + 1}, ${phase}, c=${concurrency}, ${target.name}: ${Math.round(sample.perSecond)}/s`);
        }
      }
      if (phases.includes('enroll')) await system.load.do({ act: 'forget', fleet: freshFleet(at) });
    }
  }
  if (options.phases.includes('push')) samples.push(...(await runPushes(system, options, tell)));
  return samples;
}

const inTurns = (targets: readonly BenchTarget[], run: number): readonly BenchTarget[] =>
  run % 2 === 0 ? targets : targets.toReversed();

async function makeFleet(system: BenchSystem, options: BenchOptions, name: string): Promise<void> {
  const { devices, seed, auth, certHeader } = options;
  await system.load.do({ act: 'make', name, devices, seed, auth, certHeader, authority: system.authority });
}

async function prepareFleets(system: BenchSystem, options: BenchOptions, tell: (line: string) => void): Promise<void> {
  for (const fleet of [POLLING, QUEUEING]) {
    tell(`making and enrolling ${options.devices} ${fleet} devices`);
    await makeFleet(system, options, fleet);
    for (const target of system.targets)
      await system.load.run({ act: 'enroll', fleet, target: plain(target), concurrency: 32, seconds: 600 });
  }
  tell('warming up');
  for (const target of system.targets) {
    for (const measure of [MEASURES.idle, MEASURES.cycle])
      await measure(system, target, { ...options, seconds: WARM_UP_SECONDS }, { concurrency: 32, run: 0 });
  }
}

/** Waits until our workers have nothing left to do: what one phase owed must not be paid during the next. */
async function settle({ db }: BenchSystem): Promise<void> {
  const deadline = performance.now() + SETTLE_WITHIN_MS;
  for (;;) {
    const [row] = await db.rows<{ owed: number }>(
      "SELECT COUNT(*) AS owed FROM outbox WHERE kind NOT LIKE 'maintenance.%' AND due_at <= NOW(6)",
    );
    if (row?.owed === 0) return;
    if (performance.now() > deadline) throw new Error(`${row?.owed} debts are still owed after a minute`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export function sampleOf(
  phase: string,
  target: BenchTarget,
  at: Place,
  { results, cost, unitsEach }: Measured,
): Sample {
  const latencies = Float64Array.from(results.flatMap((result) => [...result.latencies])).sort();
  const quantile = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  const sum = (of: (result: LoadResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  return {
    phase,
    concurrency: at.concurrency,
    target: target.name,
    run: at.run,
    perSecond: (sum((result) => result.count) * unitsEach) / sum((result) => result.seconds),
    p50: quantile(0.5),
    p99: quantile(0.99),
    requests: latencies.length,
    cost,
    rssMb: Object.fromEntries(Object.entries(target.pids).map(([name, pid]) => [name, residentMb(pid)])),
  };
}
