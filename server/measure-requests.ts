import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import type { Metrics } from '../config/metrics.ts';

/** Routes as labels; anything else is `other`, so that strangers cannot grow the metric. */
const ROUTES = [
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

/** The same for every request of an Express application. */
export function measureRequests(metrics: Metrics): RequestHandler {
  return (request, response, next) => {
    measure(metrics, routeOf(request.path), request, response);
    next();
  };
}

/** Counts and times one request, once it is answered. */
export function measure(metrics: Metrics, route: string, request: IncomingMessage, response: ServerResponse): void {
  const startedAt = performance.now();
  response.once('finish', () => {
    const { method = '' } = request;
    const seconds = (performance.now() - startedAt) / 1_000;
    metrics.observeRequest(route, METHODS.has(method) ? method : 'other', response.statusCode, seconds);
  });
}
