import { createHmac, timingSafeEqual } from 'node:crypto';
import type { DeclarativeManagement } from '../../mdm/check-in.ts';
import { ServerError } from '../errors.ts';
import type { Answer } from './answer.ts';

export interface ManagementProxyOptions {
  /** Endpoints are resolved against it as relative references; end it with `/`. */
  readonly url: string;
  readonly sendHmacKey?: string | undefined;
  readonly receiveHmacKey?: string | undefined;
  readonly timeoutMs?: number;
}

const HMAC_HEADER = 'X-Hmac-Signature';
const MAX_ANSWER_BYTES = 10 * 1024 * 1024;
const sign = (key: string, body: Uint8Array): string => createHmac('sha256', key).update(body).digest('base64');

/** Passes DeclarativeManagement messages on to an operator's own server (nanomdm §6.2). */
export class ManagementProxy {
  readonly #options: ManagementProxyOptions;

  constructor(options: ManagementProxyOptions) {
    this.#options = options;
  }

  /** @throws ServerError management.failed: what the upstream said follows; its 404 is passed on, so that a device can drop a declaration */
  async forward({ enrollment, endpoint, data }: DeclarativeManagement): Promise<Answer> {
    const { sendHmacKey, receiveHmacKey, timeoutMs = 10_000 } = this.#options;
    const body = data ?? Buffer.alloc(0);
    const headers: Record<string, string> = {
      'X-Enrollment-ID': enrollment.id,
      'X-Enrollment-Type': enrollment.type,
      ...(!enrollment.isDevice && { 'X-Enrollment-ParentID': enrollment.deviceId }),
      ...(data !== undefined && { 'Content-Type': 'application/json' }),
      ...(sendHmacKey !== undefined && { [HMAC_HEADER]: sign(sendHmacKey, body) }),
    };
    const url = this.#resolve(endpoint);
    const response = await fetch(url, {
      method: data === undefined ? 'GET' : 'PUT',
      headers: encode(headers),
      body: data ?? null,
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    }).catch((cause: unknown) => {
      throw new ServerError(
        'management.failed',
        `the Declarative Management server cannot be reached: ${cause instanceof Error ? cause.message : cause}`,
      );
    });
    const answer = await readBounded(response);
    if (response.status !== 200) {
      const status = response.status === 404 ? 404 : 500;
      throw new ServerError('management.failed', `the Declarative Management server answered ${response.status}`, {
        status,
        body: answer,
      });
    }
    if (receiveHmacKey !== undefined && !isSigned(receiveHmacKey, answer, response.headers.get(HMAC_HEADER))) {
      throw new ServerError(
        'management.failed',
        'the answer of the Declarative Management server is not signed with our key',
        { status: 500 },
      );
    }
    return { body: answer };
  }

  /**
   * Only what lies below the configured URL: an Endpoint that leads elsewhere would turn devices into request forgers (nanomdm §14.3 #8). The resolved URL is
   * judged, not only its spelling: URL parsers skip blanks and take `%2e` for a dot. Encoded separators are refused because the upstream may decode them.
   */
  #resolve(endpoint: string): URL {
    const base = new URL(this.#options.url);
    const folder = base.pathname.slice(0, base.pathname.lastIndexOf('/') + 1);
    const isRelative =
      !/^[a-z][a-z0-9+.-]*:|^[/\\]|%(2e|2f|5c)|[^!-\uffff]/i.test(endpoint) &&
      !endpoint.split(/[/\\]/).includes('..') &&
      URL.canParse(endpoint, base.href);
    const resolved = isRelative ? new URL(endpoint, base) : undefined;
    if (resolved === undefined || resolved.origin !== base.origin || !resolved.pathname.startsWith(folder))
      throw new ServerError('management.failed', 'the Endpoint is not a relative reference', { status: 400 });
    return resolved;
  }
}

/** Header values are Latin-1 on the wire; user names need not be. */
const encode = (headers: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value).toString('latin1')]));

async function readBounded(response: Response): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES)
      throw new ServerError('management.failed', 'the answer of the Declarative Management server is too large', {
        status: 500,
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function isSigned(key: string, body: Buffer, signature: string | null): boolean {
  const expected = Buffer.from(sign(key, body));
  const given = Buffer.from(signature ?? '');
  return given.length === expected.length && timingSafeEqual(given, expected);
}
