import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { DeviceCertificate } from './device-certificate.ts';
import { signMdm } from './mdm-signature.ts';

export const CHECK_IN_TYPE = 'application/x-apple-aspen-mdm-checkin';
export const REPORT_TYPE = 'application/x-apple-aspen-mdm; charset=UTF-8';

export interface Reply {
  readonly status: number;
  readonly body: Buffer;
  readonly contentType: string;
  /** From Retry-After, in seconds or as a date; undefined without one. */
  readonly retryAfterMs: number | undefined;
}

export interface MdmClientOptions {
  /** The server, e.g. `http://127.0.0.1:9000`; messages go to `/mdm` below it. */
  readonly url: string;
  /** Connections open at once, kept alive between messages. */
  readonly maxSockets?: number;
  readonly timeoutMs?: number;
  /** PEM of a CA to trust besides the usual ones. */
  readonly ca?: string;
}

/** How devices talk: signed PUTs over kept-alive connections. One client serves a whole fleet. */
export class MdmClient {
  readonly #url: URL;
  readonly #agent: HttpAgent;
  readonly #timeoutMs: number;
  /** Of bodies that are sent again: every Idle of a channel is the same, and signing is half of a device's work. */
  readonly #signatures = new WeakMap<Buffer, { readonly by: DeviceCertificate; readonly signature: string }>();

  constructor({ url, maxSockets = 64, timeoutMs = 60_000, ca }: MdmClientOptions) {
    this.#url = new URL('mdm', url.endsWith('/') ? url : `${url}/`);
    const options = { keepAlive: true, maxSockets, maxFreeSockets: maxSockets };
    this.#agent =
      this.#url.protocol === 'https:' ? new HttpsAgent({ ...options, ...(ca && { ca }) }) : new HttpAgent(options);
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Sends one message. Rejects when the connection fails or times out: then nobody knows whether the server has it.
   * A kept-alive connection that turns out to be closed is replaced once without asking, as URLSession does.
   */
  async put(contentType: string, body: Buffer, identity: DeviceCertificate): Promise<Reply> {
    const headers = {
      'Content-Type': contentType,
      'Content-Length': body.length,
      'User-Agent': 'MDM/1.0',
      'Mdm-Signature': this.#sign(body, identity),
    };
    try {
      return await this.#send(headers, body);
    } catch (error) {
      if (error instanceof StaleConnection) return this.#send(headers, body);
      throw error;
    }
  }

  #sign(body: Buffer, identity: DeviceCertificate): string {
    const known = this.#signatures.get(body);
    if (known?.by === identity) return known.signature;
    const signature = signMdm(body, identity);
    this.#signatures.set(body, { by: identity, signature });
    return signature;
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(headers: Record<string, string | number>, body: Buffer): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const send = this.#url.protocol === 'https:' ? httpsRequest : httpRequest;
    const options = { method: 'PUT', agent: this.#agent, headers, timeout: this.#timeoutMs };
    const sent = send(this.#url, options, (response) => readReply(response).then(resolve, reject));
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${this.#timeoutMs} ms`)));
    sent.on('error', (error: NodeJS.ErrnoException) => {
      const isStale = sent.reusedSocket && error.code === 'ECONNRESET';
      reject(isStale ? new StaleConnection('the kept-alive connection was closed', { cause: error }) : error);
    });
    sent.end(body);
    return promise;
  }
}

class StaleConnection extends Error {}

async function readReply(response: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return {
    status: response.statusCode ?? 0,
    body: Buffer.concat(chunks),
    contentType: response.headers['content-type'] ?? '',
    retryAfterMs: readRetryAfter(response.headers['retry-after']),
  };
}

/** RFC 9110 §10.2.3: seconds, or a date. */
function readRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
