/**
 * How fast it is, against nothing or against a peer under the same load: `npm run bench -- --help`. Only ratios of one run mean something; the last column
 * says how much others disturbed it.
 */
import { BENCH_HELP, type BenchOptions, readBenchOptions } from './bench-options.ts';
import { type BenchSystem, startBenchSystem } from './bench-system.ts';
import { describeMachine } from './measure.ts';
import { formatRatios, formatTable } from './report.ts';
import { runPhases, type Sample } from './run-phases.ts';

const tell = (line: string): void => console.error(line);

async function report(system: BenchSystem, options: BenchOptions, samples: readonly Sample[]): Promise<void> {
  const machine = await describeMachine(system.db);
  if (options.isJson) {
    console.log(JSON.stringify({ machine, options: { ...options, peer: options.peer?.url }, samples }, null, 2));
    return;
  }
  const { seed, devices, seconds, runs, auth } = options;
  console.log(
    `${machine}\nseed ${seed}, ${devices} devices, ${seconds} s each, median of ${runs} runs, auth by ${auth}\n`,
  );
  console.log(formatTable(samples));
  if (options.peer !== undefined) console.log(`\n${formatRatios(samples)}`);
}

async function bench(options: BenchOptions): Promise<void> {
  const system = await startBenchSystem(options);
  try {
    await report(system, options, await runPhases(system, options, tell));
  } finally {
    await system.stop();
  }
}

const options = readBenchOptions(process.argv.slice(2));
if (options === 'help') console.log(BENCH_HELP);
else await bench(options);
