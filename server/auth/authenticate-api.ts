import type { RequestHandler } from 'express';
import { LRUCache } from 'lru-cache';
import type { Log } from '../../config/log.ts';
import type { Executor } from '../../db/connection.ts';
import { type ApiKey, findApiKey, hashApiKey, ROLES, type Role } from '../../db/queries/api-keys.ts';
import { refusalOf } from '../errors.ts';

export interface ApiAuthOptions {
  readonly db: Executor;
  readonly log: Log;
}

/** How long a key that was revoked may still work in another process. */
const CACHED_MS = 10_000;
/** Characters of a stranger's URL, which may be 1 MiB, in a log line. */
const MAX_LOGGED = 200;

/** The key of a request: a Bearer token, or the password of Basic whatever the user name (NanoMDM's and NanoCMD's clients send theirs). */
export function readCredential(authorization: string | undefined): string | undefined {
  const [scheme = '', value = ''] = (authorization ?? '').split(/ +/, 2);
  if (scheme.toLowerCase() === 'bearer') return value || undefined;
  if (scheme.toLowerCase() !== 'basic') return undefined;
  const text = Buffer.from(value, 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : text.slice(colon + 1) || undefined;
}

/** Finds the key of a request; only keys that exist are remembered, for seconds. Used by every admin route, never by a device's: it answers 401. */
export class ApiAuth {
  readonly #options: ApiAuthOptions;
  readonly #known = new LRUCache<string, ApiKey>({ max: 1_000, ttl: CACHED_MS });

  constructor(options: ApiAuthOptions) {
    this.#options = options;
  }

  async find(authorization: string | undefined): Promise<ApiKey | undefined> {
    const credential = readCredential(authorization);
    if (credential === undefined) return undefined;
    const hash = hashApiKey(credential).toString('hex');
    const known = this.#known.get(hash);
    if (known !== undefined) return known;
    const found = await findApiKey(this.#options.db, credential);
    // Set once and never refreshed: a key in constant use must be looked up again too.
    if (found !== undefined) this.#known.set(hash, found);
    return found;
  }

  /** Lets keys of this role or a higher one pass; 401 with NanoMDM's challenge without a key, 403 with one that may not. */
  require(role: Role): RequestHandler {
    return async (request, response, next) => {
      try {
        const key = await this.find(request.headers.authorization);
        if (key === undefined) {
          this.#options.log.warn('api.unauthorized', { path: request.path.slice(0, MAX_LOGGED), ip: request.ip });
          response.writeHead(401, {
            'WWW-Authenticate': 'Basic realm="nanomdm"',
            'Content-Type': 'text/plain; charset=utf-8',
            'X-Content-Type-Options': 'nosniff',
          });
          response.end('Unauthorized\n');
        } else if (ROLES.indexOf(key.role) < ROLES.indexOf(role)) {
          response
            .writeHead(403, { 'Content-Type': 'text/plain; charset=utf-8' })
            .end(`Forbidden: needs the role ${role}\n`);
        } else {
          response.locals.apiKey = key;
          next();
        }
      } catch (error) {
        const { status } = refusalOf(error);
        response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end('unavailable\n');
      }
    };
  }
}
