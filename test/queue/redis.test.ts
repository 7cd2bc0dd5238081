import { describe, expect, it } from 'vitest';
import { backoffMs } from '../../queue/define-job.ts';
import { checkRedisPolicy, connectRedis, producerOptions, workerOptions } from '../../queue/redis.ts';
import { hostJob } from '../harness/core-fixture.ts';
import { usePrivateRedis } from '../harness/core-redis.ts';
import { waitFor } from '../harness/wait-for.ts';

const server = usePrivateRedis();

describe('Redis addresses', () => {
  it.each([
    ['redis://localhost', { host: 'localhost', port: 6379 }],
    ['redis://:se%40cret@cache:6380/2', { host: 'cache', port: 6380, password: 'se@cret', db: 2 }],
    ['rediss://me:pass@cache', { host: 'cache', port: 6379, username: 'me', password: 'pass', tls: {} }],
    ['unix:///tmp/a%20b/redis.sock', { path: '/tmp/a b/redis.sock' }],
  ])('%s', (url, address) => {
    expect(producerOptions(url)).toMatchObject(address);
    expect(workerOptions(url)).toMatchObject(address);
  });

  it('publishers do not wait for Redis, workers do', () => {
    expect(producerOptions('redis://h')).toMatchObject({ enableOfflineQueue: false, maxRetriesPerRequest: 1 });
    expect(workerOptions('redis://h')).toMatchObject({ maxRetriesPerRequest: null });
  });
});

describe('back-off', () => {
  it('is 1 s, doubles, and ends at the cap', () => {
    const job = hostJob({ backoffCapMs: 60_000 });
    expect([1, 2, 3, 6, 7, 1_000, 65_535].map((attempt) => backoffMs(job, attempt))).toEqual([
      1_000, 2_000, 4_000, 32_000, 60_000, 60_000, 60_000,
    ]);
  });
});

describe('checkRedisPolicy', () => {
  it('refuses a Redis that would evict jobs', async () => {
    const redis = connectRedis(server.url, () => {});
    await waitFor('Redis', () => redis.ping());
    await checkRedisPolicy(redis);
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await expect(checkRedisPolicy(redis)).rejects.toThrow('noeviction, not allkeys-lru');
    redis.disconnect();
  });
});
