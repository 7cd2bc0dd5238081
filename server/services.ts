import { readFileSync } from 'node:fs';
import express from 'express';
import type { Redis } from 'ioredis';
import type { Environment } from '../config/env.ts';
import type { Log } from '../config/log.ts';
import { createMetrics, type Metrics } from '../config/metrics.ts';
import { type Db, openDb } from '../db/db.ts';
import { storeInitialKey } from '../db/queries/api-keys.ts';
import { readOwnAuthority, storeOwnAuthority } from '../db/queries/own-authority.ts';
import { type CertificateAuthority, createCertificateAuthority } from '../mdm/certificates/certificate-authority.ts';
import { CertificateCache } from '../mdm/certificates/certificate-cache.ts';
import { DeviceTrust } from '../mdm/certificates/device-trust.ts';
import { createApnsClient } from '../push/create-apns-client.ts';
import { Publisher } from '../queue/publish.ts';
import { closeQueues, type JobQueues, openQueues } from '../queue/queues.ts';
import { connectRedis } from '../queue/redis.ts';
import type { PushNowOptions } from './api/push-now.ts';
import { ApiAuth } from './auth/authenticate-api.ts';
import type { DeviceOptions } from './device/device-router.ts';
import { DeviceStore } from './device/device-store.ts';
import { createGetToken } from './device/get-token.ts';
import { LastSeen } from './device/last-seen.ts';
import { ManagementProxy } from './device/management-proxy.ts';
import type { ProbeOptions } from './health.ts';

/** Everything that the routes use, wired once. */
export interface Services {
  readonly log: Log;
  readonly db: Db;
  readonly metrics: Metrics;
  readonly queues: JobQueues;
  readonly auth: ApiAuth;
  readonly authority: CertificateAuthority;
  readonly device: DeviceOptions;
  readonly push: PushNowOptions;
  readonly probes: ProbeOptions;
  readonly trustProxy: string[];
  readonly escrowCaPem: string | undefined;
  readonly version: string;
  /** Called when the process begins to end: `/readyz` says so. */
  refuse(): void;
  /** Ends in order: gatherers, last seen, hints, connections. */
  close(): Promise<void>;
}

const MAX_REPORT_BYTES = 20 * 1024 * 1024;
const BODY_TIMEOUT_MS = 30_000;
const PUSHES_END_MS = 1_000;
const AUTHORITY = { commonName: 'Espalier device CA', years: 10 };

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const fileText = (path: string): string | undefined => (path === '' ? undefined : readFileSync(path, 'utf8'));

/** @throws when a file of the configuration cannot be read or used, or MySQL is away */
export async function openServices(environment: Environment, log: Log): Promise<Services> {
  const db = openDb({
    databaseUrl: environment.DATABASE_URL,
    connections: environment.DATABASE_POOL,
    secretKeys: [environment.SECRET_KEY.reveal(), ...environment.SECRET_KEYS_OLD.map((key) => key.reveal())],
  });
  await storeInitialKey(db, environment.API_KEY.reveal());
  const authority =
    (await readOwnAuthority(db, db.secrets)) ??
    (await storeOwnAuthority(db, db.secrets, await createCertificateAuthority(AUTHORITY)));
  const metrics = createMetrics();
  const onRedisError = (error: Error): void => log.debug('redis.error', { error });
  const queues = openQueues({
    redisUrl: environment.REDIS_URL,
    prefix: environment.REDIS_PREFIX,
    onError: onRedisError,
  });
  const redis = connectRedis(environment.REDIS_URL, onRedisError);
  const publisher = new Publisher(queues);
  db.hint = (kind, keys) => publisher.hint(kind, keys);
  const store = new DeviceStore(db);
  const lastSeen = new LastSeen({ db, log });
  const apns = createApnsClient(environment, db);
  let isAccepting = true;
  return {
    log,
    db,
    metrics,
    queues,
    authority,
    version,
    auth: new ApiAuth({ db, log }),
    device: deviceOptions({ environment, log, db, metrics, store, lastSeen, authority }),
    push: { db, apns, log, metrics, repushSeconds: environment.REPUSH_AFTER_SECONDS },
    probes: {
      db,
      metrics,
      pingRedis: () => redis.ping(),
      isAccepting: () => isAccepting,
      load: () => loadOf(db, publisher, store),
    },
    trustProxy: trustedProxies(environment),
    escrowCaPem: fileText(environment.APNS_CA_FILE),
    refuse: () => {
      isAccepting = false;
    },
    close: () => closeAll({ store, lastSeen, publisher, queues, redis, db, apns }),
  };
}

interface Parts {
  readonly environment: Environment;
  readonly log: Log;
  readonly db: Db;
  readonly metrics: Metrics;
  readonly store: DeviceStore;
  readonly lastSeen: LastSeen;
  readonly authority: CertificateAuthority;
}

function deviceOptions({ environment, authority, ...parts }: Parts): DeviceOptions {
  const [roots, intermediates] = [fileText(environment.CA_FILE), fileText(environment.INTERMEDIATE_FILE)];
  // Express compiles the list of addresses; asking an application for it saves a second parser.
  const isTrusted: unknown = express().set('trust proxy', trustedProxies(environment)).get('trust proxy fn');
  return {
    ...parts,
    allowRetroactive: environment.CERT_RETRO,
    userAuthenticate: environment.USER_AUTHENTICATE,
    getToken: createGetToken(environment.TOKENS_FILE),
    managementProxy:
      environment.DM_URL === undefined
        ? undefined
        : new ManagementProxy({
            url: environment.DM_URL,
            sendHmacKey: environment.DM_SEND_HMAC_KEY?.reveal(),
            receiveHmacKey: environment.DM_RECV_HMAC_KEY?.reveal(),
          }),
    identify: {
      certificates: new CertificateCache(),
      trust: new DeviceTrust({
        ownCaPem: authority.certificatePem,
        rootsPem: roots === undefined ? [] : [roots],
        intermediatesPem: intermediates === undefined ? [] : [intermediates],
        graceDays: environment.CERT_GRACE_DAYS,
      }),
      certHeader: environment.CERT_HEADER,
      isTrustedProxy: (address) => typeof isTrusted === 'function' && isTrusted(address, 0) === true,
    },
    maxBodyBytes: MAX_REPORT_BYTES,
    bodyTimeoutMs: BODY_TIMEOUT_MS,
  };
}

const trustedProxies = (environment: Environment): string[] =>
  environment.TRUST_PROXY.split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

function loadOf(db: Db, publisher: Publisher, store: DeviceStore): Record<string, number> {
  const batching = Object.entries(store.batching()).flatMap(([name, { items, batches }]) => [
    [`gathered_items_${name}`, items],
    [`gathered_batches_${name}`, batches],
  ]);
  return {
    retried_transactions: db.counters.contention,
    dropped_hints: publisher.dropped,
    ...Object.fromEntries(batching),
  };
}

interface Closing {
  readonly store: DeviceStore;
  readonly lastSeen: LastSeen;
  readonly publisher: Publisher;
  readonly queues: JobQueues;
  readonly redis: Redis;
  readonly db: Db;
  readonly apns: { close(limitMs: number): Promise<void> };
}

async function closeAll({ store, lastSeen, publisher, queues, redis, db, apns }: Closing): Promise<void> {
  await store.drain();
  await lastSeen.flush();
  await publisher.drain();
  // Every request has ended: a push that still waits for APNs is owed.
  await apns.close(PUSHES_END_MS);
  await closeQueues(queues);
  redis.disconnect();
  await db.close();
}
