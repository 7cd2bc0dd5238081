import type { RequestHandler } from 'express';
import type { Metrics } from '../config/metrics.ts';

/** Routes as labels; anything else is `other`, so that strangers cannot grow the metric. */
const ROUTES = [
  '/mdm',
  '/checkin',
  '/v1/enqueue',
  '/v1/push',
  '/v1/pushcert',
  '/v1/apns',
  '/v1/certificates',
  '/v1/escrowkeyunlock',
  '/migration',
  '/version',
  '/admin/queues',
];

const METHODS = new Set(['GET', 'PUT', 'POST', 'DELETE', 'HEAD']);

function routeOf(path: string): string {
  return ROUTES.find((route) => path === route || path.startsWith(`${route}/`)) ?? 'other';
}

/** Counts and times every answered request. */
export function measureRequests(metrics: Metrics): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    response.once('finish', () => {
      const method = METHODS.has(request.method) ? request.method : 'other';
      metrics.observeRequest(
        routeOf(request.path),
        method,
        response.statusCode,
        (performance.now() - startedAt) / 1000,
      );
    });
    next();
  };
}
