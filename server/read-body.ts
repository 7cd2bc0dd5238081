import type { IncomingMessage } from 'node:http';
import { ServerError } from './errors.ts';

export interface BodyLimits {
  readonly maxBytes: number;
  /** From the first byte to the last. */
  readonly timeoutMs: number;
}

/** What the headers alone say against a body. @throws ServerError body.too-large, body.encoding (compressed) */
export function refuseUnreadable({ headers }: IncomingMessage, maxBytes: number): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity')
    throw new ServerError('body.encoding', `content-encoding ${encoding.slice(0, 100)}`);
  if (Number(headers['content-length'] ?? 0) > maxBytes)
    throw new ServerError('body.too-large', `more than ${maxBytes} bytes`);
}

/**
 * The exact bytes of a request's body, by hand: a body parser would cost a third of a device request, and signatures cover every byte.
 * @throws ServerError body.too-large, body.timeout, body.encoding (compressed), body.unreadable
 */
export async function readBody(request: IncomingMessage, { maxBytes, timeoutMs }: BodyLimits): Promise<Buffer> {
  refuseUnreadable(request, maxBytes);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const timer = setTimeout(
      () => end(new ServerError('body.timeout', `no whole body within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const end = (error?: Error): void => {
      clearTimeout(timer);
      request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      if (error === undefined)
        resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks));
      else reject(error);
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > maxBytes) end(new ServerError('body.too-large', `more than ${maxBytes} bytes`));
      else chunks.push(chunk);
    };
    const onEnd = (): void => end();
    const onError = (): void => end(new ServerError('body.unreadable', 'the connection broke'));
    const onClose = (): void => end(new ServerError('body.unreadable', 'the connection was closed'));
    request.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}
