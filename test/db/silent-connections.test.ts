import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Db, openDb } from '../../db/db.ts';
import { isConnectionLoss } from '../../db/errors.ts';
import { transaction } from '../../db/transaction.ts';
import { SilentProxy } from '../harness/system-proxy.ts';
import { TEST_SECRET_KEY, useTestDatabase } from '../harness/test-database.ts';
import { waitFor } from '../harness/wait-for.ts';

const LIMIT_MS = 400;
const test = useTestDatabase();
let proxy: SilentProxy;
let db: Db;

beforeEach(async () => {
  const url = new URL(test.databaseUrl);
  proxy = await SilentProxy.start({ path: url.searchParams.get('socketPath') ?? '' });
  const databaseUrl = `mysql://root@127.0.0.1:${proxy.port}${url.pathname}`;
  db = openDb({ databaseUrl, connections: 4, secretKeys: [TEST_SECRET_KEY], answerWithinMs: LIMIT_MS });
});
afterEach(async () => {
  await db.close();
  await proxy.close();
});

const sleepInMysql = (seconds: number) => db.rows('SELECT SLEEP(?) AS slept', [seconds]);
const useAllConnections = () => Promise.all([0, 1, 2, 3].map(() => sleepInMysql(0.05)));

it('a statement without an answer fails as a lost connection, a transaction too', async () => {
  await useAllConnections();
  proxy.silence();
  const outcomes = await Promise.all([
    db.rows('SELECT 1').catch((error: unknown) => isConnectionLoss(error)),
    transaction(db, async (t) => t.rows('SELECT 1')).catch((error: unknown) => isConnectionLoss(error)),
  ]);
  expect(outcomes).toEqual([true, true]);
});

it('after the first failure none of the others that died with it costs another wait', async () => {
  await useAllConnections();
  expect(proxy.connections).toBe(4);
  proxy.silence();
  await expect(db.rows('SELECT 1')).rejects.toThrow('said nothing');
  proxy.letNewOnesPass();
  expect(await Promise.all([0, 1, 2, 3].map(() => db.rows('SELECT 1 AS one')))).toEqual(
    [0, 1, 2, 3].map(() => [{ one: 1 }]),
  );
});

it('connections that idle are kept, and one that works within the limit as well', async () => {
  await useAllConnections();
  const over = performance.now() + 3 * LIMIT_MS;
  await waitFor('three limits to pass', () => performance.now() > over);
  expect(proxy.connections).toBe(4);
  await sleepInMysql(0.25);
  expect(proxy.connections).toBe(4);
});

it('a slow statement is ended when its limit is over, and the pool lives on', async () => {
  await expect(sleepInMysql(5)).rejects.toThrow('said nothing');
  expect(await db.rows('SELECT 2 AS two')).toEqual([{ two: 2 }]);
});
