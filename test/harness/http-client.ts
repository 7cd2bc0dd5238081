import { Agent, type IncomingMessage, request } from 'node:http';

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly text: string;
}

export interface Call {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: Uint8Array | string;
}

/** Exactly the request that is asked for: no header of its own but Host and Content-Length, no redirects followed. */
export class HttpClient {
  readonly url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor(url: string) {
    this.url = url;
  }

  /** @param path as it stands on the request line */
  send(path: string, { method = 'GET', headers = {}, body }: Call = {}): Promise<Reply> {
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const length = bytes === undefined ? {} : { 'Content-Length': String(bytes.length) };
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const { hostname, port } = new URL(this.url);
    const sent = request(
      { hostname, port, path, method, agent: this.#agent, headers: { ...headers, ...length } },
      (response) => readReply(response).then(resolve, reject),
    );
    sent.setTimeout(30_000, () => sent.destroy(new Error(`no answer to ${method} ${path}`)));
    sent.on('error', reject);
    sent.end(bytes);
    return promise;
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function readReply(response: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  return { status: response.statusCode ?? 0, headers: response.headers, body, text: body.toString() };
}
