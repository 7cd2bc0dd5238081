import { Worker } from 'bullmq';
import { JOB_KINDS, type JobKind } from '../domain/job-kinds.ts';
import type { Job } from '../queue/define-job.ts';
import { workerOptions } from '../queue/redis.ts';
import type { RunJobOptions } from './run-job.ts';
import { runJob } from './run-job.ts';

/** How long a job may go without a sign of life, and how often that is checked. The same everywhere: mixed values block each other's checks. */
const STALLED_AFTER_MS = 30_000;
/** Rows count attempts. BullMQ's own limit would fail a job without running it, and show it as if its rows had failed. */
const MAX_STALLED = 1_000;

export interface WorkersOptions extends RunJobOptions {
  readonly jobs: Readonly<Record<JobKind, Job>>;
  readonly kinds: readonly JobKind[];
  readonly redisUrl: string;
  readonly prefix: string;
  readonly concurrency?: number | undefined;
  readonly stalledAfterMs?: number;
}

export interface RunningWorker {
  readonly kind: JobKind;
  /** Jobs running here now, and when one last began or ended. */
  readonly active: () => number;
  readonly lastMovedAt: () => number;
}

export interface Workers {
  readonly running: readonly RunningWorker[];
  /** Takes no more jobs and waits for those under way; after `limitMs` they are aborted: their rows remain. */
  close(limitMs: number): Promise<void>;
}

/** The kinds that `WORKER_QUEUES` names: exact, or a prefix ending in `*`; empty means all. @throws naming a kind that does not exist */
export function selectKinds(selection: string): JobKind[] {
  const patterns = selection
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (patterns.length === 0) return [...JOB_KINDS];
  const fits = (kind: string, pattern: string): boolean =>
    pattern.endsWith('*') ? kind.startsWith(pattern.slice(0, -1)) : kind === pattern;
  for (const pattern of patterns) {
    if (!JOB_KINDS.some((kind) => fits(kind, pattern)))
      throw new Error(`WORKER_QUEUES: no job kind ${pattern}; there are ${JOB_KINDS.join(', ')}`);
  }
  return JOB_KINDS.filter((kind) => patterns.some((pattern) => fits(kind, pattern)));
}

/** One BullMQ worker per kind. */
export function startWorkers(options: WorkersOptions): Workers {
  const started = options.kinds.map((kind) => startWorker(options, options.jobs[kind]));
  return {
    running: started.map(({ running }) => running),
    async close(limitMs) {
      const closing = Promise.allSettled(started.map(({ worker }) => worker.close()));
      const isClosed = await Promise.race([closing.then(() => true), after(limitMs).then(() => false)]);
      if (isClosed) return;
      options.log.warn('workers.aborted', { limitMs });
      for (const { worker } of started) worker.cancelAllJobs('shutdown');
      await Promise.race([closing, after(2_000)]);
    },
  };
}

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

function startWorker(options: WorkersOptions, job: Job): { worker: Worker; running: RunningWorker } {
  let active = 0;
  let lastMovedAt = Date.now();
  const move = (by: number): void => {
    active += by;
    lastMovedAt = Date.now();
  };
  const worker = new Worker(
    job.kind,
    async (bullJob, _token, signal) => {
      move(1);
      try {
        return await runJob(options, job, bullJob, signal ?? new AbortController().signal);
      } finally {
        move(-1);
      }
    },
    {
      connection: workerOptions(options.redisUrl),
      prefix: options.prefix,
      concurrency: options.concurrency ?? job.concurrency,
      lockDuration: options.stalledAfterMs ?? STALLED_AFTER_MS,
      stalledInterval: options.stalledAfterMs ?? STALLED_AFTER_MS,
      maxStalledCount: MAX_STALLED,
      metrics: { maxDataPoints: 60 * 24 },
    },
  );
  worker.on('error', (error) => options.log.debug('redis.error', { error }));
  worker.on('lockRenewalFailed', (ids) => {
    // Somebody else may run it by now; the row lock is the fence, this only saves work.
    for (const id of ids) worker.cancelJob(id, 'lock lost');
  });
  return { worker, running: { kind: job.kind, active: () => active, lastMovedAt: () => lastMovedAt } };
}
