import { randomBytes } from 'node:crypto';
import { type CertificateAuthority, issueDeviceCertificate } from '../mdm/certificates/certificate-authority.ts';
import { readPlist } from '../mdm/plist/read-plist.ts';
import { isPlistDict, type PlistDict } from '../mdm/plist/value.ts';
import { writePlist } from '../mdm/plist/write-plist.ts';
import { type KeyPair, makeCsr, makeKeyPair } from '../simulator/device-identity.ts';
import { signMdm } from '../simulator/mdm-signature.ts';
import { makeRandom, type Random } from '../simulator/random.ts';
import { AUTHENTICATE, DEVICE_INFORMATION } from '../test/mdm/plist/samples.ts';
import type { Auth } from './bench-options.ts';

export const BENCH_TOPIC = 'com.apple.mgmt.External.5f0c2a61-7d0e-4a1c-8a53-9b7b6a1d2e3f';

export interface FleetOptions {
  /** Different names, different devices. */
  readonly name: string;
  readonly devices: number;
  readonly seed: number;
  readonly auth: Auth;
  readonly certHeader: string;
  readonly authority: CertificateAuthority;
}

/** A device with what it sends put together beforehand, head and body. */
export interface LoadDevice {
  readonly udid: string;
  readonly authenticate: Buffer;
  readonly tokenUpdate: Buffer;
  readonly idle: Buffer;
  /** Acknowledges a command with a DeviceInformation answer of 3 KB. */
  acknowledge(commandUuid: string): Buffer;
}

const CHECK_IN = 'application/x-apple-aspen-mdm-checkin';
const REPORT = 'application/x-apple-aspen-mdm; charset=UTF-8';
/** Each device has a certificate of its own; keys are shared, because making 2,000 takes minutes and nobody looks. */
const KEY_PAIRS = 8;
const AT_ONCE = 64;

/** Devices that can be put on any server: the same requests for all. */
export async function makeFleet(options: FleetOptions): Promise<LoadDevice[]> {
  const random = makeRandom(options.seed).fork(options.name);
  const keyPairs = await Promise.all(Array.from({ length: KEY_PAIRS }, () => makeKeyPair('rsa')));
  const requests = await Promise.all(keyPairs.map((keyPair) => makeCsr(keyPair, { commonName: 'bench' })));
  const devices: LoadDevice[] = [];
  while (devices.length < options.devices) {
    const count = Math.min(AT_ONCE, options.devices - devices.length);
    const some = Array.from({ length: count }, (_, index) => {
      const at = (devices.length + index) % KEY_PAIRS;
      return makeDevice(options, random, keyPairs[at], requests[at]);
    });
    devices.push(...(await Promise.all(some)));
  }
  return devices;
}

async function makeDevice(
  options: FleetOptions,
  random: Random,
  keyPair: KeyPair | undefined,
  csr: string | undefined,
): Promise<LoadDevice> {
  if (keyPair === undefined || csr === undefined) throw new Error('no key pair');
  const udid = random.uuid();
  const token = random.bytes(32);
  const issued = await issueDeviceCertificate(options.authority, csr, { days: 30, commonName: udid });
  if (!issued.ok) throw issued.error;
  const certificateDer = issued.value;
  const { privateKey } = keyPair;
  const identify = (body: Buffer): string =>
    options.auth === 'header'
      ? `${options.certHeader}: :${certificateDer.toString('base64')}:`
      : `Mdm-Signature: ${signMdm(body, { privateKey, certificateDer })}`;
  const put = (contentType: string, body: Buffer): Buffer =>
    Buffer.concat([
      Buffer.from(head('PUT', '/mdm', body.length, [`Content-Type: ${contentType}`, identify(body)])),
      body,
    ]);
  const keys = { UDID: udid };
  const push = { Topic: BENCH_TOPIC, PushMagic: random.uuid(), Token: token };
  return {
    udid,
    authenticate: put(CHECK_IN, writePlist({ ...sampleOf(AUTHENTICATE), ...keys, Topic: BENCH_TOPIC })),
    tokenUpdate: put(CHECK_IN, writePlist({ MessageType: 'TokenUpdate', ...keys, ...push })),
    idle: put(REPORT, writePlist({ Status: 'Idle', ...keys })),
    acknowledge: (commandUuid) =>
      put(REPORT, writePlist({ ...sampleOf(DEVICE_INFORMATION), ...keys, CommandUUID: commandUuid })),
  };
}

const samples = new Map<Buffer, PlistDict>();

function sampleOf(bytes: Buffer): PlistDict {
  const known = samples.get(bytes);
  if (known !== undefined) return known;
  const plist = readPlist(bytes);
  if (!plist.ok || !isPlistDict(plist.value)) throw new Error('a sample is no dictionary');
  samples.set(bytes, plist.value);
  return plist.value;
}

export const head = (method: string, path: string, length: number, headers: readonly string[]): string =>
  `${[`${method} ${path} HTTP/1.1`, 'Host: bench', ...headers, `Content-Length: ${length}`].join('\r\n')}\r\n\r\n`;

/** A DeviceInformation command as an admin queues it (0.6 KB). */
export const makeCommand = (commandUuid: string): Buffer =>
  writePlist({
    CommandUUID: commandUuid,
    Command: {
      RequestType: 'DeviceInformation',
      Queries: ['DeviceName', 'OSVersion', 'BuildVersion', 'ModelName', 'SerialNumber'],
    },
  });

/** Not of the seed: a second run with the same one may meet the first one's commands. */
export const newCommandUuid = (): string => randomBytes(16).toString('hex').toUpperCase();
