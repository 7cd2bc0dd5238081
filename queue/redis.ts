import { Redis } from 'ioredis';

/** The part of ioredis' options that a URL says. */
interface Address {
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
  readonly username?: string;
  readonly password?: string;
  readonly db?: number;
  readonly tls?: Record<string, never>;
}

/** `redis://`, `rediss://` or `unix:///path`. */
function addressOf(url: string): Address {
  if (url.startsWith('unix://')) return { path: decodeURIComponent(url.slice('unix://'.length)) };
  const parsed = new URL(url);
  return {
    host: parsed.hostname,
    port: Number(parsed.port || 6379),
    ...(parsed.username !== '' && { username: decodeURIComponent(parsed.username) }),
    ...(parsed.password !== '' && { password: decodeURIComponent(parsed.password) }),
    ...(parsed.pathname.length > 1 && { db: Number(parsed.pathname.slice(1)) }),
    ...(parsed.protocol === 'rediss:' && { tls: {} }),
  };
}

// BullMQ's own strategy grows to 20 s; a worker should be back within seconds of Redis.
const retryStrategy = (times: number): number => Math.min(times * 200, 2000);

// socketTimeout: a connection that is not closed but dead (a firewall forgot it) is replaced. Workers block for up to 10 s without a word.

/** For those who publish: fails at once when Redis is away. A hint that is lost costs seconds; a request that waits costs a device. */
export const producerOptions = (url: string) => ({
  ...addressOf(url),
  retryStrategy,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 1,
  commandTimeout: 5_000,
  socketTimeout: 10_000,
});

/** For those who consume: waits for Redis to come back. */
export const workerOptions = (url: string) => ({
  ...addressOf(url),
  retryStrategy,
  maxRetriesPerRequest: null,
  socketTimeout: 20_000,
});

/** A client of our own: BullMQ's wrapper ignores SET … NX. */
export function connectRedis(url: string, onError: (error: Error) => void): Redis {
  const redis = new Redis(producerOptions(url));
  redis.on('error', onError);
  return redis;
}

/** @throws unless Redis keeps what it is given: with another policy it may evict jobs under memory pressure */
export async function checkRedisPolicy(redis: Redis): Promise<void> {
  const policy = /maxmemory_policy:(\S+)/.exec(await redis.info('memory'))?.[1];
  if (policy !== undefined && policy !== 'noeviction')
    throw new Error(`Redis must run with maxmemory-policy noeviction, not ${policy}`);
}
