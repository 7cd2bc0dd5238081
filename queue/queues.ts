import { Queue } from 'bullmq';
import { JOB_KINDS, type JobKind } from '../domain/job-kinds.ts';
import { producerOptions } from './redis.ts';

/** What a BullMQ job carries: keys, never state. */
export interface JobData {
  readonly v: 1;
  readonly keys: readonly string[];
}

export type JobQueue = Queue<JobData, unknown, string>;
export type JobQueues = Readonly<Record<JobKind, JobQueue>>;

export interface QueueOptions {
  readonly redisUrl: string;
  readonly prefix: string;
  onError(error: Error): void;
}

/** One queue per kind, for publishing and for Bull Board. Completed jobs are kept only to be looked at. */
export function openQueues({ redisUrl, prefix, onError }: QueueOptions): JobQueues {
  const entries = JOB_KINDS.map((kind) => {
    const queue: JobQueue = new Queue(kind, {
      connection: producerOptions(redisUrl),
      prefix,
      defaultJobOptions: {
        attempts: 1,
        removeOnComplete: { count: 500 },
        removeOnFail: { count: 5_000 },
        sizeLimit: 65_536,
      },
    });
    queue.on('error', onError);
    return [kind, queue];
  });
  return Object.fromEntries(entries) as JobQueues;
}

export async function closeQueues(queues: JobQueues): Promise<void> {
  await Promise.allSettled(JOB_KINDS.map((kind) => queues[kind].close()));
}
