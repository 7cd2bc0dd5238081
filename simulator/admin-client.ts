/** What the admin API answered instead of what was asked. `status` is null when there was no answer at all. */
export class AdminRequestError extends Error {
  readonly status: number | null;

  constructor(message: string, status: number | null, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AdminRequestError';
    this.status = status;
  }
}

export interface AdminReply {
  readonly status: number;
  readonly body: unknown;
}

/** The few calls of the admin API that a simulation needs, as user `nanomdm` with the API key. */
export class AdminClient {
  readonly #url: URL;
  readonly #authorization: string;

  constructor(url: string, apiKey: string) {
    this.#url = new URL(url.endsWith('/') ? url : `${url}/`);
    this.#authorization = `Basic ${Buffer.from(`nanomdm:${apiKey}`).toString('base64')}`;
  }

  /** Stores a push certificate: PEM of the certificate and of its key. */
  async putPushCertificate(pem: string): Promise<void> {
    await this.#expect('PUT', 'v1/pushcert', pem, 'application/x-pem-file');
  }

  /** Sends the pushes of a topic to another APNs than Apple's. */
  async putApns(topic: string, apns: { readonly url: string; readonly ca: string }): Promise<void> {
    await this.#expect('PUT', `v1/apns/${encodeURIComponent(topic)}`, JSON.stringify(apns), 'application/json');
  }

  /** Has the server's own CA issue a certificate for a PEM certificate request; gives the certificate in PEM. */
  async issueCertificate(csrPem: string): Promise<string> {
    const { body } = await this.#expect('POST', 'v1/certificates', csrPem, 'application/x-pem-file');
    if (typeof body === 'object' && body !== null && 'certificate' in body && typeof body.certificate === 'string') {
      return body.certificate;
    }
    throw new AdminRequestError('POST v1/certificates: the answer holds no certificate', 200);
  }

  /** Queues a command plist for these enrollments. Gives the answer whatever its status is: 207 and 500 say per id why. */
  async enqueue(
    ids: readonly string[],
    command: Buffer,
    options: { readonly noPush?: boolean } = {},
  ): Promise<AdminReply> {
    const query = options.noPush === true ? '?nopush=1' : '';
    return this.#send('PUT', `v1/enqueue/${ids.map(encodeURIComponent).join(',')}${query}`, command, 'application/xml');
  }

  async push(ids: readonly string[]): Promise<AdminReply> {
    return this.#send('PUT', `v1/push/${ids.map(encodeURIComponent).join(',')}`, '', 'text/plain');
  }

  async #expect(method: string, path: string, body: string, contentType: string): Promise<AdminReply> {
    const reply = await this.#send(method, path, body, contentType);
    if (reply.status >= 200 && reply.status < 300) return reply;
    const detail = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body);
    const reason = reply.status === 401 ? 'the API key is not accepted' : `status ${reply.status}: ${detail.trim()}`;
    throw new AdminRequestError(`${method} ${path}: ${reason}`, reply.status);
  }

  async #send(method: string, path: string, body: string | Buffer, contentType: string): Promise<AdminReply> {
    const headers = { authorization: this.#authorization, 'content-type': contentType };
    const bytes = typeof body === 'string' ? body : new Uint8Array(body);
    try {
      const response = await fetch(new URL(path, this.#url), { method, headers, body: bytes });
      const text = await response.text();
      const isJson = response.headers.get('content-type')?.includes('json') === true;
      return { status: response.status, body: isJson ? JSON.parse(text) : text };
    } catch (error) {
      throw new AdminRequestError(`${this.#url.origin} does not answer: ${reasonOf(error)}`, null, { cause: error });
    }
  }
}

/** fetch says only "fetch failed"; the reason is its cause, which may have nothing but a code. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error)) return String(error);
  return 'code' in cause && cause.message === '' ? String(cause.code) : cause.message;
}
