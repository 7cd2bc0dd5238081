import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Refusal } from '../errors.ts';

/** What a device gets: nothing, or bytes. */
export interface Answer {
  readonly body: Buffer | undefined;
  readonly contentType?: string;
}

export const NOTHING: Answer = { body: undefined };

const XML = 'text/xml; charset=utf-8';
const TEXT = 'text/plain; charset=utf-8';

/** 200 with the bytes as they are, or empty without a Content-Type (nanomdm §0.4). */
export function sendAnswer(response: ServerResponse, { body, contentType }: Answer): void {
  if (body === undefined || body.length === 0) {
    response.writeHead(200, { 'Content-Length': 0 }).end();
    return;
  }
  response
    .writeHead(200, {
      'Content-Type': contentType ?? (body.subarray(0, 5).toString('latin1') === '<?xml' ? XML : TEXT),
      'Content-Length': body.length,
    })
    .end(body);
}

/** The status text as plain text; the reason is only logged (nanomdm §0.3). Never 401. */
export function sendRefusal(response: ServerResponse, refusal: Refusal, extra: Buffer = Buffer.alloc(0)): void {
  const body = Buffer.concat([Buffer.from(`${STATUS_CODES[refusal.status] ?? 'Error'}\n`), extra]);
  response.writeHead(refusal.status, {
    'Content-Type': TEXT,
    'X-Content-Type-Options': 'nosniff',
    'Content-Length': body.length,
    ...(refusal.retryAfterSeconds !== undefined && { 'Retry-After': refusal.retryAfterSeconds }),
    // What is left of a refused body would be taken for the next request.
    ...((refusal.status === 413 || refusal.status === 408) && { Connection: 'close' }),
  });
  response.end(body);
}
