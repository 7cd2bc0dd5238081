import type { Sample } from './run-phases.ts';

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

const UNITS: Readonly<Record<string, string>> = {
  enroll: 'enrollments',
  idle: 'polls',
  cycle: 'cycles',
  enqueue: 'calls of 1 id',
  fanout: 'queue rows',
};

const byPlace = (samples: readonly Sample[]): Map<string, Sample[]> =>
  Map.groupBy(samples, (sample) => `${sample.phase} ${sample.concurrency} ${sample.target}`);

/** A row per phase, concurrency and server: medians over the runs. Costs are per request; CPU in milliseconds, which is seconds per 1,000. */
export function formatTable(samples: readonly Sample[]): string {
  const rows = [...byPlace(samples).values()].map(rowOf);
  const headings = [
    'phase',
    'c',
    'server',
    'per second',
    'p50 ms',
    'p99 ms',
    'CPU ms: server',
    'worker',
    'database',
    'load',
    'statements',
    'commits',
    'flushes',
    'new connections',
    'RSS MB server',
    'other CPU',
  ];
  return markdown(headings, rows);
}

function rowOf(samples: readonly Sample[]): string[] {
  const [first] = samples;
  const of = (value: (sample: Sample) => number): number => median(samples.map(value));
  const perRequest = (value: (sample: Sample) => number | undefined, digits: number): string =>
    of((sample) => (value(sample) ?? 0) / sample.requests).toFixed(digits);
  const cpu = (name: string): string => perRequest((sample) => (sample.cost.cpu[name] ?? 0) * 1_000, 3);
  return [
    UNITS[first?.phase ?? ''] ?? first?.phase ?? '',
    String(first?.concurrency),
    first?.target ?? '',
    Math.round(of((sample) => sample.perSecond)).toLocaleString('en'),
    of((sample) => sample.p50).toFixed(1),
    of((sample) => sample.p99).toFixed(1),
    cpu('server'),
    cpu('worker'),
    cpu('database'),
    cpu('load'),
    perRequest((sample) => sample.cost.statements, 2),
    perRequest((sample) => sample.cost.commits, 2),
    perRequest((sample) => sample.cost.flushes, 2),
    perRequest((sample) => sample.cost.connections, 2),
    of((sample) => sample.rssMb.server ?? 0).toFixed(0),
    of((sample) => sample.cost.others).toFixed(2),
  ];
}

/** Ours divided by the peer's, run by run: the only figures that mean something on another machine. */
export function formatRatios(samples: readonly Sample[]): string {
  const places = byPlace(samples);
  const rows = [...places].flatMap(([place, ours]) => {
    const theirs = places.get(place.replace(/espalier$/, 'peer'));
    if (!place.endsWith('espalier') || theirs === undefined) return [];
    const ratios = ours.map((sample, index) => sample.perSecond / (theirs[index]?.perSecond ?? Number.NaN));
    const p99 = ours.map((sample, index) => sample.p99 / (theirs[index]?.p99 ?? Number.NaN));
    const [first] = ours;
    return [
      [
        UNITS[first?.phase ?? ''] ?? first?.phase ?? '',
        String(first?.concurrency),
        `${median(ratios).toFixed(2)}`,
        ratios.map((ratio) => ratio.toFixed(2)).join(', '),
        median(p99).toFixed(2),
      ],
    ];
  });
  return markdown(['phase', 'c', 'rate, ours / peer', 'run by run', 'p99, ours / peer'], rows);
}

function markdown(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  return [headings, headings.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
