import { afterAll, beforeAll } from 'vitest';
import { readEnvironment } from '../../config/env.ts';
import type { Log } from '../../config/log.ts';
import type { Db } from '../../db/db.ts';
import type { CertificateAuthority } from '../../mdm/certificates/certificate-authority.ts';
import { createApp } from '../../server/app.ts';
import type { DeviceOptions } from '../../server/device/device-router.ts';
import { listen, portOf, stopListening } from '../../server/listen.ts';
import { openServices } from '../../server/services.ts';
import { type Call, HttpClient, type Reply } from './http-client.ts';
import { TEST_SECRET_KEY, type TestDatabase } from './test-database.ts';

export const API_KEY = 'test-api-key';

export interface LoggedEvent {
  readonly event: string;
  readonly fields: Record<string, unknown>;
}

export interface TestServer {
  readonly url: string;
  readonly http: HttpClient;
  /** The server's own pool; tests look at the tables through another one. */
  readonly db: Db;
  /** Signs the certificates of its devices. */
  readonly authority: CertificateAuthority;
  readonly device: DeviceOptions;
  readonly log: readonly LoggedEvent[];
  /** A request with the admin's key. */
  admin(method: string, path: string, body?: Uint8Array | string, headers?: Call['headers']): Promise<Reply>;
  close(): Promise<void>;
}

type Changes = Readonly<Record<string, string>>;
type Place = Pick<TestDatabase, 'databaseUrl' | 'redisUrl' | 'prefix'>;

/** The real application on a free port of this process. `variables` are environment variables as an operator would set them. */
export async function startTestServer(place: Place, variables: Changes = {}): Promise<TestServer> {
  const environment = readEnvironment([], {
    DATABASE_URL: place.databaseUrl,
    REDIS_URL: place.redisUrl,
    REDIS_PREFIX: place.prefix,
    SECRET_KEY: TEST_SECRET_KEY.toString('hex'),
    API_KEY,
    DATABASE_POOL: '12',
    ...variables,
  });
  const log: LoggedEvent[] = [];
  const services = await openServices(environment, collect(log));
  const server = await listen(createApp(environment, services), 0, '127.0.0.1');
  const http = new HttpClient(`http://127.0.0.1:${portOf(server)}`);
  const credentials = { Authorization: `Basic ${Buffer.from(`nanomdm:${API_KEY}`).toString('base64')}` };
  return {
    url: http.url,
    http,
    db: services.db,
    authority: services.authority,
    device: services.device,
    log,
    admin: (method, path, body, headers = {}) =>
      http.send(path, { method, headers: { ...credentials, ...headers }, ...(body !== undefined && { body }) }),
    async close() {
      http.close();
      await stopListening(server, 2_000);
      await services.close();
    },
  };
}

/** A server for a whole test file, closed before its database is dropped. Call after {@link useTestDatabase}. */
export function useTestServer(place: Place, variables: Changes | (() => Promise<Changes>) = {}): TestServer {
  let server: TestServer | undefined;
  beforeAll(async () => {
    server = await startTestServer(place, typeof variables === 'function' ? await variables() : variables);
  });
  afterAll(() => server?.close());
  return new Proxy({} as TestServer, {
    get(_target, name: keyof TestServer) {
      if (server === undefined) throw new Error('the test server is there from beforeAll on');
      return server[name];
    },
  });
}

function collect(events: LoggedEvent[]): Log {
  const keep = (event: string, fields: Record<string, unknown> = {}): void => void events.push({ event, fields });
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep, with: () => log };
  return log;
}
