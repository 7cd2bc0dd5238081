import type { RequestListener } from 'node:http';
import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import type { Environment } from '../config/env.ts';
import { issueCertificate } from './api/device-certificates.ts';
import { enqueueHandler, pushHandler } from './api/enqueue.ts';
import { escrowKeyUnlock } from './api/escrow-key-unlock.ts';
import { getPushCertificate, putApnsRoute, putPushCertificate, removeApnsRoute } from './api/push-certificates.ts';
import { refuseForeignSites } from './auth/refuse-foreign-sites.ts';
import { BOARD_PATH, boardRouter } from './board.ts';
import { checkInHandler, combinedHandler, migrationHandler, reportHandler } from './device/device-router.ts';
import { loopbackOnly, probeRouter } from './health.ts';
import { measure, measureRequests } from './measure-requests.ts';
import type { Services } from './services.ts';

/**
 * The whole server. What devices call, thousands of times a second, goes past Express: its share of such a request would be as large as that of the plist parser.
 */
export function createApp(environment: Environment, services: Services): RequestListener {
  const { device, metrics } = services;
  const forDevices = new Map<string, RequestListener>([
    ['/mdm', environment.SEPARATE_CHECKIN ? reportHandler(device) : combinedHandler(device)],
  ]);
  if (environment.SEPARATE_CHECKIN) forDevices.set('/checkin', checkInHandler(device));
  const forOthers = createAdminApp(environment, services);
  return (request, response) => {
    const [path = ''] = request.url?.split('?', 1) ?? [];
    const handle = forDevices.get(path);
    if (handle === undefined) return forOthers(request, response);
    measure(metrics, path, request, response);
    handle(request, response);
  };
}

/** Routes are as strict as the reference's: `/mdm/` is not `/mdm` (nanomdm §0.1). Every path and who may use it, on one screen. */
function createAdminApp(environment: Environment, services: Services): Express {
  const { auth, device, push, log, metrics, queues, db, authority } = services;
  const app = express();
  app.disable('x-powered-by').disable('etag').enable('case sensitive routing').enable('strict routing');
  app.set('trust proxy', services.trustProxy);
  app.use(measureRequests(metrics));

  app.use(cleanPath);
  app.use(helmet({ contentSecurityPolicy: false, strictTransportSecurity: false }));
  app.use(['/v1', '/migration'], refuseForeignSites);
  app.all(['/v1/enqueue', '/v1/push'], addSlash);
  const enqueue = enqueueHandler(push);
  app.all('/v1/enqueue/*ids', auth.require('operator'), enqueue);
  app.all('/v1/enqueue/', auth.require('operator'), enqueue);
  app.all('/v1/push/*ids', auth.require('operator'), pushHandler(push));
  app.all('/v1/push/', auth.require('operator'), pushHandler(push));
  app.get('/v1/pushcert', auth.require('observer'), getPushCertificate(services));
  app.put('/v1/pushcert', auth.require('admin'), putPushCertificate(services));
  app.all('/v1/pushcert', auth.require('observer'), notAllowed);
  app.put('/v1/apns/:topic', auth.require('admin'), ...putApnsRoute(services));
  app.delete('/v1/apns/:topic', auth.require('admin'), removeApnsRoute(services));
  app.post('/v1/certificates', auth.require('admin'), issueCertificate({ log, authority }));
  app.all(
    '/v1/escrowkeyunlock',
    auth.require('operator'),
    escrowKeyUnlock({ db, log, url: environment.ESCROW_UNLOCK_URL, caPem: services.escrowCaPem }),
  );
  if (environment.MIGRATION) app.all('/migration', auth.require('admin'), migrationHandler(device));
  app.all('/version', (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ version: services.version }));
  });

  app.use(BOARD_PATH, boardRouter(queues, auth));
  if (environment.METRICS_PORT === undefined) app.use(['/healthz', '/readyz', '/metrics'], loopbackOnly);
  if (environment.METRICS_PORT === undefined) app.use(probeRouter(services.probes));
  app.use(notFound);
  app.use(failed);
  return app;
}

/** The probes on a port of their own. */
export function createProbeApp(services: Services): Express {
  return express().disable('x-powered-by').use(probeRouter(services.probes)).use(notFound);
}

const TEXT = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' };
const notFound: RequestHandler = (_request, response) => void response.writeHead(404, TEXT).end('404 page not found\n');
const notAllowed: RequestHandler = (_request, response) =>
  void response.writeHead(405, TEXT).end('Method Not Allowed\n');

/** A body that no parser could read, or a bug: never a stack trace for a stranger. */
const failed: ErrorRequestHandler = (error, _request, response, _next) => {
  const status =
    typeof error === 'object' && error !== null && 'status' in error && typeof error.status === 'number'
      ? error.status
      : 500;
  if (response.headersSent) response.destroy();
  else response.status(status).json({ error: status < 500 ? 'malformed request' : 'internal error' });
};

/** A redirect says its address twice: one of 1 MiB would be an answer of many, made for anybody who asks and does not read it. */
const MAX_REDIRECT_LENGTH = 8_192;

function redirect(response: Parameters<RequestHandler>[1], location: string, hasBody: boolean): void {
  if (location.length > MAX_REDIRECT_LENGTH) {
    response.writeHead(414, TEXT).end('URI Too Long\n');
    return;
  }
  const escaped = location
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&#34;');
  const body = hasBody ? `<a href="${escaped}">Moved Permanently</a>.\n\n` : '';
  response
    .writeHead(301, {
      Location: location,
      ...(hasBody && { 'Content-Type': 'text/html; charset=utf-8' }),
      'Content-Length': Buffer.byteLength(body),
    })
    .end(body);
}

const isReading = (method: string): boolean => method === 'GET' || method === 'HEAD';

/** `//`, `/./` and `/../` are cleaned by a redirect, before anybody is asked for a key (nanomdm §0.1). */
const cleanPath: RequestHandler = (request, response, next) => {
  const [path = '', query] = request.originalUrl.split('?', 2);
  if (!/\/\/|\/\.\.?(\/|$)/.test(path)) return next();
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const clean = `/${parts.join('/')}${path.endsWith('/') && parts.length > 0 ? '/' : ''}`;
  redirect(response, query === undefined ? clean : `${clean}?${query}`, isReading(request.method));
};

const addSlash: RequestHandler = (request, response) => {
  const [path = '', query] = request.originalUrl.split('?', 2);
  redirect(response, `${path}/${query === undefined ? '' : `?${query}`}`, isReading(request.method));
};
