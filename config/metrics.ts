import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Everything a process measures, in one registry; `/metrics` prints it. */
export interface Metrics {
  readonly registry: Registry;
  observeRequest(route: string, method: string, status: number, seconds: number): void;
  observeRun(kind: string, outcome: 'done' | 'failed' | 'lost', seconds: number, keys: number): void;
  countPushes(outcome: string, count: number): void;
  countReports(status: string, isKnown: boolean): void;
  countEnrollment(event: string): void;
  setOutboxDepth(kind: string, owed: number, failed: number, oldestSeconds: number): void;
  setEnrollments(type: string, enabled: number, disabled: number): void;
  setLoad(name: string, value: number): void;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Known statuses; a device may say anything, and a label must not grow without bound. */
const STATUSES = new Set(['Idle', 'Acknowledged', 'Error', 'CommandFormatError', 'NotNow']);

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'espalier_http_request_seconds',
    help: 'Answered requests',
    labelNames: ['route', 'method', 'status'],
    buckets: SECONDS,
    registers,
  });
  const runs = new Histogram({
    name: 'espalier_job_run_seconds',
    help: 'Runs of jobs',
    labelNames: ['kind', 'outcome'],
    buckets: SECONDS,
    registers,
  });
  const keys = new Counter({
    name: 'espalier_job_keys_total',
    help: 'Keys that jobs carried',
    labelNames: ['kind', 'outcome'],
    registers,
  });
  const pushes = new Counter({
    name: 'espalier_pushes_total',
    help: 'Pushes by what APNs made of them',
    labelNames: ['outcome'],
    registers,
  });
  const reports = new Counter({
    name: 'espalier_reports_total',
    help: 'Command reports',
    labelNames: ['status', 'known'],
    registers,
  });
  const enrollments = new Counter({
    name: 'espalier_enrollment_events_total',
    help: 'Authenticate, TokenUpdate, CheckOut, renewals, refusals',
    labelNames: ['event'],
    registers,
  });
  const depth = new Gauge({
    name: 'espalier_outbox_rows',
    help: 'Work owed',
    labelNames: ['kind', 'state'],
    registers,
  });
  const age = new Gauge({
    name: 'espalier_outbox_oldest_seconds',
    help: 'Age of the oldest row that is due',
    labelNames: ['kind'],
    registers,
  });
  const channels = new Gauge({
    name: 'espalier_enrollments',
    help: 'Enrollments',
    labelNames: ['type', 'state'],
    registers,
  });
  const load = new Gauge({
    name: 'espalier_process',
    help: 'What this process holds: statements per gathered batch, retried transactions, dropped hints, …',
    labelNames: ['name'],
    registers,
  });
  const [childOf, countedAs] = [remember<Histogram.Internal<string>>(), remember<Counter.Internal>()];
  return {
    registry,
    observeRequest: (route, method, status, seconds) =>
      childOf(`${route} ${method} ${status}`, () => requests.labels(route, method, String(status))).observe(seconds),
    observeRun(kind, outcome, seconds, count) {
      runs.labels(kind, outcome).observe(seconds);
      keys.labels(kind, outcome).inc(count);
    },
    countPushes: (outcome, count) => pushes.labels(outcome).inc(count),
    countReports(status, isKnown) {
      const label = STATUSES.has(status) ? status : 'other';
      countedAs(`${label} ${isKnown}`, () => reports.labels(label, String(isKnown))).inc();
    },
    countEnrollment: (event) => enrollments.labels(event).inc(),
    setOutboxDepth(kind, owed, failed, oldestSeconds) {
      depth.labels(kind, 'owed').set(owed);
      depth.labels(kind, 'failed').set(failed);
      age.labels(kind).set(oldestSeconds);
    },
    setEnrollments(type, enabled, disabled) {
      channels.labels(type, 'enabled').set(enabled);
      channels.labels(type, 'disabled').set(disabled);
    },
    setLoad: (name, value) => load.labels(name).set(value),
  };
}

/** Finding the child of a metric by its labels takes longer than counting; there are few, and they are kept. */
function remember<T>(): (key: string, make: () => T) => T {
  const known = new Map<string, T>();
  return (key, make) => {
    const found = known.get(key);
    if (found !== undefined) return found;
    const made = make();
    known.set(key, made);
    return made;
  };
}
