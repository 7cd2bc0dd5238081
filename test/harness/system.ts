import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, inject } from 'vitest';
import { type Db, openDb } from '../../db/db.ts';
import { runDoctor } from '../../db/doctor.ts';
import { AdminClient } from '../../simulator/admin-client.ts';
import { type FakeApns, startFakeApns } from '../../simulator/fake-apns.ts';
import { type Fleet, type FleetOptions, startFleet } from '../../simulator/fleet.ts';
import { issuedByServer } from '../../simulator/identity-source.ts';
import { makePushCertificate } from '../../simulator/make-push-certificate.ts';
import { isRunning, runProgram, SystemProcess } from './system-process.ts';
import { type PrivateServer, startLastingRedis, startPrivateDatabase, startPrivateRedis } from './system-servers.ts';
import { TEST_SECRET_KEY } from './test-database.ts';

export const SYSTEM_API_KEY = 'system-test-key';
export const SYSTEM_TOPIC = 'com.apple.mgmt.External.5f0e8a64-2f3b-4c39-9d55-0c2c4a7d7e01';

export interface SystemOptions {
  /** Worker processes; 1. */
  readonly workers?: number;
  /** `own`: a database server to be killed; default: a database on the run's shared server. */
  readonly database?: 'shared' | 'own';
  /** `own`: a Redis to be wiped and killed, which comes back empty; `lasting`: one that comes back with its data. */
  readonly redis?: 'shared' | 'own' | 'lasting';
  /** Environment variables of server and workers. */
  readonly variables?: Readonly<Record<string, string>>;
  /** What the programs are given instead of the real addresses: for proxies in between. */
  readonly between?: (urls: { databaseUrl: string; redisUrl: string }) => Promise<{
    readonly databaseUrl: string;
    readonly redisUrl: string;
    stop(): Promise<void>;
  }>;
}

/** One whole Espalier: database, Redis, server and workers as processes, and a stand-in for APNs. */
export interface System {
  readonly url: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly prefix: string;
  /** The test's own look at the database; it is not what the programs use. */
  readonly db: Db;
  readonly admin: AdminClient;
  readonly apns: FakeApns;
  readonly server: SystemProcess;
  readonly workers: readonly SystemProcess[];
  /** There when `own` or `lasting` was asked for. @throws otherwise */
  readonly database: PrivateServer;
  readonly redis: PrivateServer;
  /** Devices that enroll over HTTP with certificates from the server's CA. */
  startFleet(options: Pick<FleetOptions, 'devices'> & Partial<FleetOptions>): Promise<Fleet>;
  /** Ends everything. @throws when a process had crashed or is left over, or when the doctor finds something */
  stop(): Promise<void>;
  /** The last lines of every process, for a test that fails. */
  logs(): string;
}

/** A port below those that the kernel hands out, so that nobody gets it while the server is down. */
async function findPort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const probe = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => resolve(true));
    });
    await new Promise((resolve) => probe.close(resolve));
    if (isFree) return port;
  }
}

/** Everything that was started, to be ended in the opposite order. */
type Endings = (() => Promise<unknown>)[];

async function startServers({ database = 'shared', redis = 'shared' }: SystemOptions, endings: Endings) {
  const shared = { databaseUrl: inject('databaseUrl'), redisUrl: inject('redisUrl') };
  const ownDatabase = database === 'own' ? await startPrivateDatabase(shared.redisUrl) : undefined;
  if (ownDatabase !== undefined) endings.push(() => ownDatabase.stop());
  const startRedis = { shared: undefined, own: startPrivateRedis, lasting: startLastingRedis }[redis];
  const ownRedis = await startRedis?.(shared.databaseUrl);
  if (ownRedis !== undefined) endings.push(() => ownRedis.stop());
  const url = new URL(ownDatabase?.url ?? shared.databaseUrl);
  if (ownDatabase === undefined) url.pathname = `/t_${randomBytes(6).toString('hex')}`;
  return { ownDatabase, ownRedis, databaseUrl: url.href, redisUrl: ownRedis?.url ?? shared.redisUrl };
}

const need = (server: PrivateServer | undefined, what: string): PrivateServer => {
  if (server === undefined) throw new Error(`this system shares its ${what} with others`);
  return server;
};

/** Starts it and waits until every part says that it is ready. */
export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const endings: Endings = [];
  const endAll = async (): Promise<void> => {
    for (const end of endings.splice(0).reverse()) await end();
  };
  try {
    return await start(options, endings, endAll);
  } catch (error) {
    await endAll().catch(() => {});
    throw error;
  }
}

async function start(options: SystemOptions, endings: Endings, endAll: () => Promise<void>): Promise<System> {
  const { ownDatabase, ownRedis, databaseUrl, redisUrl } = await startServers(options, endings);
  const prefix = `{s${randomBytes(6).toString('hex')}}`;
  const port = await findPort();
  const url = `http://127.0.0.1:${port}`;
  const variables = variablesOf({ databaseUrl, redisUrl, prefix, port }, options.variables);
  await runProgram('db/migrate-main.ts', variables);
  const db = openDb({ databaseUrl, connections: 4, secretKeys: [TEST_SECRET_KEY] });
  endings.push(() => db.close());
  if (ownDatabase === undefined)
    endings.push(() => db.run(`DROP DATABASE IF EXISTS \`${new URL(databaseUrl).pathname.slice(1)}\``));
  const proxies = await options.between?.({ databaseUrl, redisUrl });
  if (proxies !== undefined) endings.push(() => proxies.stop());
  const given = {
    ...variables,
    ...(proxies && { DATABASE_URL: proxies.databaseUrl, REDIS_URL: proxies.redisUrl }),
  };
  const server = new SystemProcess('server', 'server/main.ts', given);
  const workers = Array.from(
    { length: options.workers ?? 1 },
    (_, index) => new SystemProcess(`worker-${index}`, 'workers/main.ts', given),
  );
  const processes = [...workers, server];
  endings.push(() => Promise.all(processes.map((one) => one.stop())));
  await Promise.all(processes.map((one) => one.start()));
  const apns = await startFakeApns({ requireClientCertificate: true });
  endings.push(() => apns.close());
  const admin = new AdminClient(url, SYSTEM_API_KEY);
  await admin.putPushCertificate(await makePushCertificate(SYSTEM_TOPIC));
  await admin.putApns(SYSTEM_TOPIC, { url: apns.url, ca: apns.caPem });
  const fleets: Fleet[] = [];
  return {
    url,
    databaseUrl,
    redisUrl,
    prefix,
    db,
    admin,
    apns,
    server,
    workers,
    get database() {
      return need(ownDatabase, 'database');
    },
    get redis() {
      return need(ownRedis, 'Redis');
    },
    async startFleet(fleetOptions) {
      const fleet = await startFleet({
        url,
        topic: SYSTEM_TOPIC,
        apns,
        identitySource: issuedByServer(url, SYSTEM_API_KEY),
        ...fleetOptions,
      });
      fleets.push(fleet);
      return fleet;
    },
    logs: () => processes.map((one) => one.tail()).join('\n'),
    async stop() {
      for (const fleet of fleets) fleet.stop();
      const findings = await Promise.all(processes.map((one) => one.stop()))
        .then(() => runDoctor(db))
        .finally(endAll);
      expect(processes.flatMap((one) => one.unexpectedEnds)).toEqual([]);
      expect(processes.flatMap((one) => one.pids).filter(isRunning), 'processes left over').toEqual([]);
      expect(findings, 'the doctor found the database unwell').toEqual([]);
    },
  };
}

function variablesOf(
  at: { databaseUrl: string; redisUrl: string; prefix: string; port: number },
  more: Readonly<Record<string, string>> = {},
): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    DATABASE_URL: at.databaseUrl,
    REDIS_URL: at.redisUrl,
    REDIS_PREFIX: at.prefix,
    SECRET_KEY: TEST_SECRET_KEY.toString('hex'),
    API_KEY: SYSTEM_API_KEY,
    HOST: '127.0.0.1',
    PORT: String(at.port),
    DATABASE_POOL: '8',
    ...more,
  };
}

/** A system for a whole test file. When a test fails, the last lines of its processes are printed. */
export function useSystem(options: SystemOptions = {}): System {
  let system: System | undefined;
  beforeAll(async () => {
    system = await startSystem(options);
  });
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') process.stderr.write(`${system?.logs()}\n`);
  });
  afterAll(() => system?.stop());
  return new Proxy({} as System, {
    get(_target, name: keyof System) {
      if (system === undefined) throw new Error('the system is there from beforeAll on');
      return system[name];
    },
  });
}
