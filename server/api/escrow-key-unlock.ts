import { request as httpsRequest } from 'node:https';
import type { RequestHandler } from 'express';
import type { Log } from '../../config/log.ts';
import type { Db } from '../../db/db.ts';
import { readPushCertificateOf, type StoredPushCertificate } from '../../db/queries/push-certificates.ts';
import { readBody } from '../read-body.ts';
import { sendJson } from './nano-json.ts';
import { guarded } from './push-certificates.ts';

interface Options {
  readonly db: Db;
  readonly log: Log;
  /** Apple's service; another one in tests. */
  readonly url: string;
  readonly caPem?: string | undefined;
  readonly timeoutMs?: number;
}

const REQUIRED = ['serial', 'productType', 'escrowKey', 'orgName', 'guid'];
const IN_QUERY = ['serial', 'productType', 'imei', 'imei2', 'meid'];
const IN_BODY = ['orgName', 'guid', 'escrowKey'];
const LIMITS = { maxBytes: 1024 * 1024, timeoutMs: 30_000 };
const MAX_ANSWER_BYTES = 1024 * 1024;

/** `POST /v1/escrowkeyunlock`: Activation Lock escrow-key unlock at Apple with the topic's push certificate (nanomdm §4.7). */
export const escrowKeyUnlock = (options: Options): RequestHandler =>
  guarded(options.log, async (request, response) => {
    const isForm = (request.headers['content-type'] ?? '').startsWith('application/x-www-form-urlencoded');
    const form = new URLSearchParams(isForm ? (await readBody(request, LIMITS)).toString() : '');
    if (REQUIRED.some((name) => !form.get(name)))
      return sendJson(response, 400, { error: 'invalid or missing parameters' });
    const topic = form.get('topic');
    if (!topic) return sendJson(response, 400, { error: 'empty topic' });
    const certificate = await readPushCertificateOf(options.db, options.db.secrets, topic);
    if (certificate === undefined) return sendJson(response, 404, { error: `no push certificate for topic ${topic}` });
    const answer = await callApple(options, certificate, form).catch((error: unknown) =>
      error instanceof Error ? error : new Error(String(error)),
    );
    if (answer instanceof Error) return sendJson(response, 502, { error: answer.message });
    options.log.info('escrow-key.unlocked', { topic, serial: form.get('serial'), status: answer.status });
    response
      .writeHead(answer.status, answer.contentType === undefined ? {} : { 'Content-Type': answer.contentType })
      .end(answer.body);
  });

const pick = (form: URLSearchParams, names: readonly string[]): URLSearchParams =>
  new URLSearchParams(
    names.flatMap((name): [string, string][] => (form.get(name) ? [[name, form.get(name) ?? '']] : [])),
  );

function callApple(
  { url, caPem, timeoutMs = 30_000 }: Options,
  certificate: StoredPushCertificate,
  form: URLSearchParams,
): Promise<{ status: number; contentType: string | undefined; body: Buffer }> {
  const target = new URL(url);
  for (const [name, value] of pick(form, IN_QUERY)) target.searchParams.set(name, value);
  return new Promise((resolve, reject) => {
    const call = httpsRequest(
      target,
      {
        method: 'POST',
        cert: certificate.certificatePem,
        key: certificate.privateKeyPem,
        ...(caPem !== undefined && { ca: caPem }),
        timeout: timeoutMs,
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      },
      (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_ANSWER_BYTES) call.destroy(new Error("Apple's answer is too large"));
          else chunks.push(chunk);
        });
        answer.on('error', reject);
        answer.on('end', () =>
          resolve({
            status: answer.statusCode ?? 502,
            contentType: answer.headers['content-type'],
            body: Buffer.concat(chunks),
          }),
        );
      },
    );
    call.on('timeout', () => call.destroy(new Error(`no answer from Apple within ${timeoutMs} ms`)));
    call.on('error', reject);
    call.end(pick(form, IN_BODY).toString());
  });
}
