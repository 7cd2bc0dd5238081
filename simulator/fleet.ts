import { Activity } from './activity.ts';
import { type Behaviour, GOOD_BEHAVIOUR } from './behaviour.ts';
import { SimulatedDevice } from './device.ts';
import { drawDeviceModel, type Platform } from './device-model.ts';
import type { PushRegistry } from './device-options.ts';
import type { IdentitySource } from './identity-source.ts';
import { Ledger } from './ledger.ts';
import { MdmClient } from './mdm-client.ts';
import { drawSeed, makeRandom, type Random } from './random.ts';

export interface FleetProgress {
  readonly enrolled: number;
  readonly failed: number;
  readonly total: number;
  readonly elapsedMs: number;
}

export interface FleetOptions {
  /** The server, e.g. `http://127.0.0.1:9000`. */
  readonly url: string;
  readonly devices: number;
  readonly topic: string;
  readonly identitySource: IdentitySource;
  /** A fake APNs, or anything that takes tokens. */
  readonly apns: PushRegistry;
  /** Default: drawn. Runs with one seed have the same devices and the same behaviour. */
  readonly seed?: number | string;
  /** Differences from `GOOD_BEHAVIOUR`. */
  readonly behaviour?: Partial<Behaviour>;
  /** Enrollments under way at once, and connections to the server; 32. */
  readonly concurrency?: number;
  /** Share of devices with an RSA-2048 key; 0.1. The others have P-256, which is made a hundred times as fast. */
  readonly rsaShare?: number;
  /** Only these platforms, each as likely as the others; default: the mix of `drawPlatform`. */
  readonly platforms?: readonly [Platform, ...Platform[]];
  /** Share of devices that wait in Setup Assistant for DeviceConfigured; 0. */
  readonly awaitingShare?: number;
  /** Whether Macs escrow a bootstrap token; true. */
  readonly escrowsBootstrapToken?: boolean;
  /** Whether Macs and Shared iPads open a user channel; true. */
  readonly opensUserChannels?: boolean;
  /** Whether each device polls once after its enrollment; true. */
  readonly pollsFirst?: boolean;
  /** 5 */
  readonly enrollmentAttempts?: number;
  /** PEM of a CA to trust for https. */
  readonly ca?: string;
  readonly onProgress?: (progress: FleetProgress) => void;
  /** Aborts the enrolling: no further device is begun, and `startFleet` rejects with the reason. */
  readonly signal?: AbortSignal;
}

export interface Fleet {
  readonly seed: number | string;
  /** Those that enrolled, in the order of their numbers. */
  readonly devices: readonly SimulatedDevice[];
  readonly failures: readonly { readonly udid: string; readonly error: unknown }[];
  readonly ledger: Ledger;
  /** Whether nothing is under way at this moment: no poll, no enrollment, no unsent result. */
  readonly isIdle: boolean;
  /** Resolves when nothing is under way. Devices that wait for a push or for the end of a NotNow are idle. */
  idle(): Promise<void>;
  /** Ends every device and every connection; unsent results are lost. */
  stop(): void;
}

/**
 * Enrolls a fleet and keeps it answering pushes. Resolves when every device has tried; rejects with the first error
 * when not a single one got in.
 */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { seed = drawSeed(), concurrency = 32, ca, url, signal } = options;
  const client = new MdmClient({ url, maxSockets: concurrency, ...(ca !== undefined && { ca }) });
  const ledger = new Ledger();
  const activity = new Activity();
  const root = makeRandom(seed);
  const devices = Array.from({ length: options.devices }, (_, index) =>
    makeDevice(options, root.fork(`device/${index}`), { client, ledger, activity }),
  );
  const stop = () => {
    for (const device of devices) device.stop();
    client.close();
  };
  signal?.addEventListener('abort', stop, { once: true });
  const { enrolled, failures } = await enrollAll(devices, concurrency, options);
  signal?.removeEventListener('abort', stop);
  const [first] = failures;
  if (signal?.aborted === true || (enrolled.length === 0 && first !== undefined)) {
    stop();
    throw signal?.aborted === true ? signal.reason : first?.error;
  }
  return {
    seed,
    devices: enrolled,
    failures,
    ledger,
    get isIdle() {
      return activity.isIdle;
    },
    idle: () => activity.idle(),
    stop,
  };
}

interface Shared {
  readonly client: MdmClient;
  readonly ledger: Ledger;
  readonly activity: Activity;
}

/** Each choice draws from a stream of its own, so that asking for another platform or key type moves nothing else. */
function makeDevice(options: FleetOptions, random: Random, shared: Shared): SimulatedDevice {
  const { topic, identitySource, apns, behaviour, platforms, rsaShare = 0.1, awaitingShare = 0 } = options;
  const platform = platforms && random.fork('platform').pick(platforms);
  return new SimulatedDevice({
    ...shared,
    model: drawDeviceModel(random.fork('model'), platform),
    random,
    topic,
    identitySource,
    pushRegistry: apns,
    keyType: random.fork('key').chance(rsaShare) ? 'rsa' : 'ec',
    behaviour: { ...GOOD_BEHAVIOUR, ...behaviour },
    awaitsConfiguration: random.fork('awaiting').chance(awaitingShare),
    escrowsBootstrapToken: options.escrowsBootstrapToken ?? true,
    opensUserChannel: options.opensUserChannels ?? true,
    enrollmentAttempts: options.enrollmentAttempts ?? 5,
  });
}

async function enrollAll(devices: readonly SimulatedDevice[], concurrency: number, options: FleetOptions) {
  const { onProgress, pollsFirst = true, signal } = options;
  const startedAt = performance.now();
  const outcomes: ({ device: SimulatedDevice } | { udid: string; error: unknown })[] = [];
  const progress = { enrolled: 0, failed: 0, total: devices.length };
  const waiting = devices.entries();
  const enrollNext = async () => {
    for (const [index, device] of waiting) {
      if (signal?.aborted === true) return;
      outcomes[index] = await enrollOne(device, pollsFirst);
      progress['device' in outcomes[index] ? 'enrolled' : 'failed']++;
      onProgress?.({ ...progress, elapsedMs: performance.now() - startedAt });
    }
  };
  await Promise.all(Array.from({ length: concurrency }, enrollNext));
  return {
    enrolled: outcomes.flatMap((outcome) => ('device' in outcome ? outcome.device : [])),
    failures: outcomes.flatMap((outcome) => ('device' in outcome ? [] : outcome)),
  };
}

async function enrollOne(device: SimulatedDevice, pollsFirst: boolean) {
  try {
    await device.enroll();
    if (pollsFirst) await Promise.all([device.poll(), device.pollUser()]);
    return { device };
  } catch (error) {
    device.stop();
    return { udid: device.udid, error };
  }
}
