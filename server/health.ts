import type { RequestHandler, Router } from 'express';
import express from 'express';
import type { Metrics } from '../config/metrics.ts';
import type { Executor } from '../db/connection.ts';
import { outboxDepths } from '../db/outbox.ts';
import { countEnrollments } from '../db/queries/count-enrollments.ts';
import { JOB_KINDS } from '../domain/job-kinds.ts';

export interface ProbeOptions {
  readonly db: Executor;
  readonly metrics: Metrics;
  /** Answers when Redis does. */
  pingRedis(): Promise<unknown>;
  /** False while the process is ending. */
  isAccepting(): boolean;
  /** What else this process wants to show, read at each scrape. */
  load(): Record<string, number>;
}

const PROBE_MS = 2_000;
const LOOPBACK = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);

/** Keeps the probes from strangers when they share the port of the devices. A proxy on this machine must not pass them on. */
export const loopbackOnly: RequestHandler = (request, response, next) => {
  const isForwarded = request.headers['x-forwarded-for'] !== undefined || request.headers.forwarded !== undefined;
  if (LOOPBACK.has(request.socket.remoteAddress ?? '') && !isForwarded) next();
  else response.status(404).type('text').send('404 page not found\n');
};

/** `/healthz` (the process lives), `/readyz` (each dependency, 503 when one is away), `/metrics` (Prometheus). */
export function probeRouter(options: ProbeOptions): Router {
  const router = express.Router({ caseSensitive: true, strict: true });
  router.get('/healthz', (_request, response) => void response.json({ status: 'ok' }));
  router.get('/readyz', async (_request, response) => {
    const checks = {
      accepting: options.isAccepting(),
      mysql: await answers(options.db.rows('SELECT 1')),
      redis: await answers(options.pingRedis()),
    };
    // Without Redis devices and admins are still served; work waits in the outbox.
    const isReady = checks.accepting && checks.mysql;
    response
      .status(isReady ? 200 : 503)
      .json({ status: isReady ? (checks.redis ? 'ready' : 'degraded') : 'unready', checks });
  });
  router.get('/metrics', async (_request, response) => {
    await refresh(options).catch(() => {});
    response.type(options.metrics.registry.contentType).send(await options.metrics.registry.metrics());
  });
  return router;
}

const answers = (question: Promise<unknown>): Promise<boolean> =>
  Promise.race([
    question.then(() => true),
    new Promise<boolean>((resolve) => setTimeout(resolve, PROBE_MS, false).unref()),
  ]).catch(() => false);

async function refresh({ db, metrics, load }: ProbeOptions): Promise<void> {
  for (const [name, value] of Object.entries(load())) metrics.setLoad(name, value);
  const depths = new Map((await outboxDepths(db)).map((row) => [row.kind, row]));
  for (const kind of JOB_KINDS) {
    const row = depths.get(kind);
    metrics.setOutboxDepth(kind, row?.owed ?? 0, row?.failed ?? 0, Number(row?.oldestSeconds ?? 0));
  }
  for (const row of await countEnrollments(db)) metrics.setEnrollments(row.type, row.enabled, row.disabled);
}
