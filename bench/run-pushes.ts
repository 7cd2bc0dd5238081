import type { BenchOptions } from './bench-options.ts';
import type { BenchSystem } from './bench-system.ts';
import type { Sample } from './run-phases.ts';

export async function runPushes(_s: BenchSystem, _o: BenchOptions, _t: (line: string) => void): Promise<Sample[]> {
  return [];
}
