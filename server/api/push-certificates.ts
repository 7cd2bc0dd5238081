import express, { type RequestHandler } from 'express';
import { z } from 'zod';
import type { Log } from '../../config/log.ts';
import type { Db } from '../../db/db.ts';
import {
  deleteApnsRoute,
  readPushCertificateOf,
  storeApnsRoute,
  storePushCertificate,
} from '../../db/queries/push-certificates.ts';
import { readPushCertificate } from '../../mdm/certificates/read-push-certificate.ts';
import { refusalOf } from '../errors.ts';
import { readBody } from '../read-body.ts';
import { queryValue } from './enrollment-ids.ts';
import { sendJson, wholeSeconds } from './nano-json.ts';

interface Options {
  readonly db: Db;
  readonly log: Log;
}

const LIMITS = { maxBytes: 256 * 1024, timeoutMs: 30_000 };

/** `PUT /v1/pushcert`: a PEM certificate and its unencrypted key (nanomdm §4.2). */
export const putPushCertificate = ({ db, log }: Options): RequestHandler =>
  guarded(log, async (request, response) => {
    const certificate = readPushCertificate(await readBody(request, LIMITS));
    if (!certificate.ok) return sendJson(response, 400, { error: certificate.error.message });
    const { topic, notAfter } = certificate.value;
    // The reference takes an expired one, and then every push fails.
    if (notAfter < new Date())
      return sendJson(response, 400, { error: `the push certificate expired at ${wholeSeconds(notAfter)}` });
    await storePushCertificate(db, db.secrets, certificate.value);
    log.info('push-certificate.stored', { topic, notAfter });
    sendJson(response, 200, { not_after: wholeSeconds(notAfter), topic });
  });

/** `GET /v1/pushcert?topic=…`; the key and certificate are never given out. */
export const getPushCertificate = ({ db, log }: Options): RequestHandler =>
  guarded(log, async (request, response) => {
    const topic = queryValue(request.originalUrl, 'topic');
    if (!topic) return sendJson(response, 400, { error: 'missing required query parameter: topic' });
    const certificate = await readPushCertificateOf(db, db.secrets, topic);
    if (certificate === undefined) return sendJson(response, 404, { error: `no push certificate for topic ${topic}` });
    sendJson(response, 200, { not_after: wholeSeconds(certificate.notAfter), topic });
  });

const ROUTE = z.strictObject({
  url: z
    .url({ protocol: /^https$/ })
    .max(1024)
    .regex(/^[\x21-\x7e]+$/, 'must be ASCII')
    // It is shown in logs.
    .refine((url) => !URL.parse(url)?.username && !URL.parse(url)?.password, 'must not hold a name or password'),
  ca: z
    .string()
    .max(65_535)
    .startsWith('-----BEGIN CERTIFICATE-----')
    .regex(/^[\t\r\n\x20-\x7e]+$/, 'must be ASCII')
    .optional(),
});
const TOPIC = /^com\.apple\.mgmt\.[\x21-\x7e]{1,230}$/;

/** `PUT /v1/apns/{topic}` `{"url", "ca"?}`: this topic's pushes go there instead of to Apple. For simulators and proxies. */
export const putApnsRoute = ({ db, log }: Options): RequestHandler[] => [
  express.json({ limit: '128kb' }),
  guarded(log, async (request, response) => {
    const topic = String(request.params.topic);
    const route = ROUTE.safeParse(request.body);
    if (!TOPIC.test(topic)) return sendJson(response, 400, { error: 'the topic must start with com.apple.mgmt.' });
    if (!route.success) return sendJson(response, 400, { error: z.prettifyError(route.error) });
    await storeApnsRoute(db, { topic, url: route.data.url, caPem: route.data.ca });
    log.info('apns-route.stored', { topic, url: route.data.url });
    sendJson(response, 200, { topic, url: route.data.url });
  }),
];

/** `DELETE /v1/apns/{topic}`: back to Apple. */
export const removeApnsRoute = ({ db, log }: Options): RequestHandler =>
  guarded(log, async (request, response) => {
    const isRemoved = await deleteApnsRoute(db, String(request.params.topic));
    response.writeHead(isRemoved ? 204 : 404).end();
  });

/** What fails inside becomes `{"error"}` with its status. */
export function guarded(log: Log, handle: (...args: Parameters<RequestHandler>) => Promise<unknown>): RequestHandler {
  return async (request, response, next) => {
    try {
      await handle(request, response, next);
    } catch (error) {
      const { status } = refusalOf(error);
      if (status === 500) log.error('api.failed', { path: request.path, error });
      if (!response.headersSent)
        sendJson(response, status, {
          error:
            status === 500 ? 'internal error' : error instanceof Error && status < 500 ? error.message : 'unavailable',
        });
    }
  };
}
