import { type Db, openDb } from '../../db/db.ts';
import type { JobKind } from '../../domain/job-kinds.ts';
import type { Job } from '../../queue/define-job.ts';
import { Publisher } from '../../queue/publish.ts';
import { closeQueues, type JobQueues, openQueues } from '../../queue/queues.ts';
import { connectRedis } from '../../queue/redis.ts';
import { Relay } from '../../queue/relay.ts';
import { startWorkers, type Workers } from '../../workers/start-workers.ts';
import { type CollectedLog, collectLog, jobsWith, noMetrics } from './core-fixture.ts';

export interface CoreOptions {
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly prefix: string;
  readonly jobs?: readonly Job[];
  readonly kinds?: readonly JobKind[];
  readonly relayEveryMs?: number;
  readonly stalledAfterMs?: number;
}

export interface CoreProcess {
  readonly db: Db;
  readonly queues: JobQueues;
  readonly publisher: Publisher;
  readonly relay: Relay;
  readonly workers: Workers;
  readonly log: CollectedLog;
  stop(limitMs?: number): Promise<void>;
}

/** All that a worker process has: pool, publisher, relay, workers. Several in one test process behave like several processes. */
export async function startCore(options: CoreOptions): Promise<CoreProcess> {
  const { databaseUrl, redisUrl, prefix, jobs = [], kinds = jobs.map((job) => job.kind) } = options;
  const log = collectLog();
  const db = openDb({ databaseUrl, connections: 12, secretKeys: [Buffer.alloc(32, 7)] });
  const queues = openQueues({ redisUrl, prefix, onError: () => {} });
  const publisher = new Publisher(queues);
  db.hint = (kind, keys) => publisher.hint(kind, keys);
  const redis = connectRedis(redisUrl, () => {});
  const relay = new Relay({ db, redis, prefix, publisher, log, everyMs: options.relayEveryMs ?? 50 });
  const workers = startWorkers({
    db,
    publisher,
    log,
    metrics: noMetrics,
    jobs: jobsWith(...jobs),
    kinds,
    redisUrl,
    prefix,
    ...(options.stalledAfterMs !== undefined && { stalledAfterMs: options.stalledAfterMs }),
  });
  relay.start();
  return {
    db,
    queues,
    publisher,
    relay,
    workers,
    log,
    async stop(limitMs = 5_000) {
      await relay.stop();
      await workers.close(limitMs);
      await publisher.drain(2_000);
      await closeQueues(queues);
      redis.disconnect();
      await db.close();
    },
  };
}
