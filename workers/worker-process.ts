import { createServer } from 'node:http';
import type { WorkerEnvironment } from '../config/env.ts';
import type { Log } from '../config/log.ts';
import { createMetrics, type Metrics } from '../config/metrics.ts';
import type { RunningProcess } from '../config/run-process.ts';
import { type Db, openDb } from '../db/db.ts';
import { transaction } from '../db/transaction.ts';
import { PERIODIC_KEY, PERIODIC_KINDS } from '../domain/job-kinds.ts';
import { createApnsClient } from '../push/create-apns-client.ts';
import { Publisher } from '../queue/publish.ts';
import { closeQueues, openQueues } from '../queue/queues.ts';
import { checkRedisPolicy, connectRedis } from '../queue/redis.ts';
import { Relay } from '../queue/relay.ts';
import { createJobs } from './registry.ts';
import { selectKinds, startWorkers, type Workers } from './start-workers.ts';
import { startWatchdog } from './watchdog.ts';

/** A worker process: one BullMQ worker per kind, a relay (one of all leads), a watchdog. */
export async function openWorkerProcess(environment: WorkerEnvironment, log: Log): Promise<RunningProcess> {
  const { REDIS_URL: redisUrl, REDIS_PREFIX: prefix } = environment;
  const db = openDb({
    databaseUrl: environment.DATABASE_URL,
    connections: environment.DATABASE_POOL,
    secretKeys: [environment.SECRET_KEY.reveal(), ...environment.SECRET_KEYS_OLD.map((key) => key.reveal())],
  });
  const onError = (error: Error): void => log.debug('redis.error', { error });
  const [queues, redis, metrics, apns] = [
    openQueues({ redisUrl, prefix, onError }),
    connectRedis(redisUrl, onError),
    createMetrics(),
    createApnsClient(environment, db),
  ];
  const publisher = new Publisher(queues);
  db.hint = (kind, keys) => publisher.hint(kind, keys);
  redis.once(
    'ready',
    () => void checkRedisPolicy(redis).catch((error: unknown) => log.error('redis.policy', { error })),
  );
  await armPeriodicKinds(db);
  const jobs = createJobs({ db, apns, metrics, repushSeconds: environment.REPUSH_AFTER_SECONDS });
  const kinds = selectKinds(environment.WORKER_QUEUES);
  const workers = startWorkers({
    jobs,
    kinds,
    db,
    publisher,
    log,
    metrics,
    redisUrl,
    prefix,
    concurrency: environment.WORKER_CONCURRENCY,
  });
  const relay = new Relay({ db, redis, prefix, publisher, log });
  // Its first round needs Redis; later it waits by itself.
  if (redis.status === 'ready') relay.start();
  else redis.once('ready', () => relay.start());
  const stopWatchdog = startWatchdog({
    running: workers.running,
    // A queue that a person has paused keeps its jobs waiting, and that is no standstill.
    waiting: async (kind) => ((await queues[kind].isPaused()) ? 0 : redis.llen(`${prefix}:${kind}:wait`)),
    onStuck: (kind) => endStuck(log, kind),
  });
  const stopMetrics = serveMetrics(environment, metrics, relay, db);
  log.info('worker.started', { kinds });
  return {
    async stop() {
      stopWatchdog();
      await relay.stop();
      await closeWorkers(workers, environment.SHUTDOWN_SECONDS * 1_000);
      await publisher.drain();
      // A push that still waits for APNs belongs to a job that was aborted: it is owed.
      await apns.close(PUSHES_END_MS);
      await closeQueues(queues);
      redis.disconnect();
      stopMetrics();
      await db.close();
    },
  };
}

/** Of the time for stopping: jobs that were aborted, and pushes that wait for APNs, need a moment to end. */
const ABORTED_END_MS = 2_000;
const PUSHES_END_MS = 1_000;

const closeWorkers = (workers: Workers, limitMs: number): Promise<void> =>
  workers.close(Math.max(limitMs - ABORTED_END_MS - PUSHES_END_MS, 0));

/** A periodic kind re-arms itself for ever; this makes its first row, and revives one that failed. */
const armPeriodicKinds = (db: Db): Promise<void> =>
  transaction(db, async (t) => {
    for (const kind of PERIODIC_KINDS) t.owe(kind, [PERIODIC_KEY]);
  });

/** Ends at once: what is owed is in MySQL, and whoever started this process starts it again. */
function endStuck(log: Log, kind: string): void {
  log.error('worker.stuck', { kind });
  process.exit(70);
}

/** `/metrics` and `/healthz` of a worker, when WORKER_METRICS_PORT is set. */
function serveMetrics(environment: WorkerEnvironment, metrics: Metrics, relay: Relay, db: Db): () => void {
  if (environment.WORKER_METRICS_PORT === undefined) return () => {};
  const server = createServer((request, response) => {
    if (request.url === '/healthz') return void response.end('{"status":"ok"}\n');
    if (request.url !== '/metrics') return void response.writeHead(404).end();
    metrics.setLoad('retried_transactions', db.counters.contention);
    metrics.setLoad(
      'relay_last_round_seconds',
      relay.lastRoundAt === undefined ? 0 : relay.lastRoundAt.getTime() / 1000,
    );
    metrics.registry.metrics().then(
      (text) => response.setHeader('Content-Type', metrics.registry.contentType).end(text),
      () => response.writeHead(500).end(),
    );
  });
  server.listen(environment.WORKER_METRICS_PORT, environment.HOST);
  return () => void server.close();
}
