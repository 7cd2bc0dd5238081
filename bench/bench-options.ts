import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

export const PHASES = ['enroll', 'idle', 'cycle', 'enqueue', 'fanout', 'push'] as const;
export type Phase = (typeof PHASES)[number];
export type Auth = 'header' | 'cms';

/** Another server that the same load is put on, such as NanoMDM; it trusts the certificates of `caFile`. */
export interface PeerOptions {
  readonly url: string;
  readonly apiKey: string;
  /** For its CPU time and memory. */
  readonly pid: number | undefined;
}

export interface BenchOptions {
  readonly phases: readonly Phase[];
  readonly concurrency: readonly number[];
  readonly devices: number;
  readonly seconds: number;
  readonly runs: number;
  readonly auth: Auth;
  readonly idsPerCall: number;
  readonly seed: number;
  readonly isJson: boolean;
  readonly certHeader: string;
  /** Certificate and key of the devices' authority, made when missing; undefined: a new one that nobody else needs. */
  readonly caFile: string | undefined;
  readonly peer: PeerOptions | undefined;
  /** Of a database given by DATABASE_URL, for its CPU time. */
  readonly databasePid: number | undefined;
  /** A fixed port and a file for its CA, so that a peer can be pointed at the stand-in for APNs. */
  readonly apnsPort: number;
  readonly apnsCaFile: string | undefined;
  /** Folder for CPU profiles of server and worker. */
  readonly profileDir: string | undefined;
}

const HELP = `npm run bench -- [options]
  --only enroll,idle,cycle,enqueue,fanout,push   phases (default all)
  --concurrency 1,32,128   requests in flight          --devices 2000   devices of each fleet
  --seconds 5              length of each measurement  --runs 3         medians are over these
  --auth header|cms        how devices identify themselves              --ids 1000       ids per fan-out call
  --seed N                 same devices, same order    --json           JSON instead of a table
  --profile DIR            CPU profiles of server and worker
  --peer URL --peer-key KEY [--peer-header Client-Cert] [--peer-pid N] --ca FILE
                           the same load on another server, in turns; FILE: certificate and key of the devices' CA
  --database-pid N         of the server that DATABASE_URL names
  --apns-port N --apns-ca FILE   where a peer finds the stand-in for APNs, and what it must trust`;

const OPTIONS = {
  only: { type: 'string', default: PHASES.join() },
  concurrency: { type: 'string', default: '1,32,128' },
  devices: { type: 'string', default: '2000' },
  seconds: { type: 'string', default: '5' },
  runs: { type: 'string', default: '3' },
  auth: { type: 'string', default: 'header' },
  ids: { type: 'string', default: '1000' },
  seed: { type: 'string' },
  json: { type: 'boolean', default: false },
  profile: { type: 'string' },
  peer: { type: 'string' },
  'peer-key': { type: 'string', default: '' },
  'peer-header': { type: 'string', default: 'Client-Cert' },
  'peer-pid': { type: 'string' },
  ca: { type: 'string' },
  'database-pid': { type: 'string' },
  'apns-port': { type: 'string', default: '0' },
  'apns-ca': { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/** Reads the flags. @throws with a message for a person */
export function readBenchOptions(args: readonly string[]): BenchOptions | 'help' {
  const { values } = parseArgs({ args: [...args], options: OPTIONS, strict: true });
  if (values.help) return 'help';
  if (values.auth !== 'header' && values.auth !== 'cms') throw new Error('--auth is header or cms');
  if (values.peer !== undefined && values.ca === undefined) throw new Error('--peer needs --ca, which the peer trusts');
  return {
    phases: values.only.split(',').map(phaseOf),
    concurrency: values.concurrency.split(',').map((text) => positive(text, '--concurrency')),
    devices: positive(values.devices, '--devices'),
    seconds: positive(values.seconds, '--seconds'),
    runs: positive(values.runs, '--runs'),
    auth: values.auth,
    idsPerCall: positive(values.ids, '--ids'),
    seed: values.seed === undefined ? randomInt(2 ** 31) : positive(values.seed, '--seed'),
    isJson: values.json,
    certHeader: values['peer-header'],
    caFile: values.ca,
    peer: values.peer === undefined ? undefined : peerOf(values.peer, values['peer-key'], values['peer-pid']),
    databasePid: pidOf(values['database-pid'], '--database-pid'),
    apnsPort: Number(values['apns-port']),
    apnsCaFile: values['apns-ca'],
    profileDir: values.profile,
  };
}

export const BENCH_HELP = HELP;

const peerOf = (url: string, apiKey: string, pid: string | undefined): PeerOptions => ({
  url,
  apiKey,
  pid: pidOf(pid, '--peer-pid'),
});

const pidOf = (text: string | undefined, name: string): number | undefined =>
  text === undefined ? undefined : positive(text, name);

function phaseOf(name: string): Phase {
  const phase = PHASES.find((known) => known === name);
  if (phase === undefined) throw new Error(`--only knows ${PHASES.join(', ')}`);
  return phase;
}

function positive(text: string, name: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${name} is a positive number`);
  return value;
}
