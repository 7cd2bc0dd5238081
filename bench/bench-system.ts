import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Db, openDb } from '../db/db.ts';
import { migrate } from '../db/migrate.ts';
import { type CertificateAuthority, createCertificateAuthority } from '../mdm/certificates/certificate-authority.ts';
import { AdminClient } from '../simulator/admin-client.ts';
import { startThrowAwayStack } from '../stack/throw-away-stack.ts';
import type { BenchOptions } from './bench-options.ts';
import { Load } from './load.ts';
import type { Target } from './load-runs.ts';
import type { Pids } from './measure.ts';
import { startProgram } from './program.ts';

const API_KEY = 'bench';
const DATABASE = 'espalier_bench';

/** A server that load is put on, and the processes whose CPU it uses. */
export interface BenchTarget extends Target {
  readonly name: 'espalier' | 'peer';
  readonly pids: Pids;
  readonly admin: AdminClient;
}

export interface BenchSystem {
  /** Ours first. */
  readonly targets: readonly BenchTarget[];
  readonly load: Load;
  /** The bench's own look at our database. */
  readonly db: Db;
  readonly authority: CertificateAuthority;
  stop(): Promise<void>;
}

/** Starts database, Redis, migrations, one server, one worker and the load generator. */
export async function startBenchSystem(options: BenchOptions): Promise<BenchSystem> {
  const folder = mkdtempSync(join(tmpdir(), 'espalier-bench-'));
  const endings: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const stop = async (): Promise<void> => {
    for (const end of endings.splice(0).reverse()) await end();
  };
  const keep = <T extends { stop(): Promise<void> }>(started: T): T => {
    endings.push(() => started.stop());
    return started;
  };
  try {
    const stack = keep(await startThrowAwayStack());
    const url = new URL(stack.databaseUrl);
    if (stack.database === undefined) url.pathname = `/${DATABASE}`;
    await migrate(url.href);
    const secretKey = Buffer.alloc(32, 1);
    const db = openDb({ databaseUrl: url.href, connections: 2, secretKeys: [secretKey] });
    endings.push(() => db.close());
    const authority = await readAuthority(options.caFile);
    const caFile = join(folder, 'ca.pem');
    writeFileSync(caFile, authority.certificatePem);
    const variables = {
      DATABASE_URL: url.href,
      REDIS_URL: stack.redisUrl,
      REDIS_PREFIX: `{bench${process.pid}}`,
      SECRET_KEY: secretKey.toString('hex'),
      API_KEY,
      HOST: '127.0.0.1',
      PORT: '0',
      CA_FILE: caFile,
      ...(options.auth === 'header' && { CERT_HEADER: options.certHeader, TRUST_PROXY: 'loopback' }),
    };
    const nodeFlags = options.profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profileDir}`];
    const common = { variables, nodeFlags };
    const worker = keep(await startProgram('workers/main.ts', { ...common, logFile: join(folder, 'worker.log') }));
    const server = keep(await startProgram('server/main.ts', { ...common, logFile: join(folder, 'server.log') }));
    const load = keep(await Load.start(folder));
    const database = stack.database?.pid ?? options.databasePid;
    const shared = { load: load.pid, ...(database !== undefined && { database }) };
    const ours = targetOf('espalier', `http://127.0.0.1:${server.ready.port}`, API_KEY, {
      server: server.pid,
      worker: worker.pid,
      ...shared,
    });
    const { peer } = options;
    const targets = peer
      ? [ours, targetOf('peer', peer.url, peer.apiKey, { ...(peer.pid && { server: peer.pid }), ...shared })]
      : [ours];
    return { targets, load, db, authority, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const targetOf = (name: BenchTarget['name'], url: string, apiKey: string, pids: Pids): BenchTarget => ({
  name,
  url,
  apiKey,
  pids,
  admin: new AdminClient(url, apiKey),
});

/** Certificate, then key, in one file that a peer can be started with. */
async function readAuthority(file: string | undefined): Promise<CertificateAuthority> {
  if (file !== undefined && existsSync(file)) {
    const [certificatePem = '', privateKeyPem = ''] = readFileSync(file, 'utf8').split(/(?=-----BEGIN PRIVATE)/);
    return { certificatePem, privateKeyPem };
  }
  const authority = await createCertificateAuthority({ commonName: 'Bench CA', years: 1 });
  if (file !== undefined) writeFileSync(file, authority.certificatePem + authority.privateKeyPem, { mode: 0o600 });
  return authority;
}
