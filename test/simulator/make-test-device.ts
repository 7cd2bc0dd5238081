import { createCertificateAuthority } from '../../mdm/certificates/certificate-authority.ts';
import { Activity } from '../../simulator/activity.ts';
import { type Behaviour, GOOD_BEHAVIOUR } from '../../simulator/behaviour.ts';
import { SimulatedDevice } from '../../simulator/device.ts';
import { drawDeviceModel, type Platform } from '../../simulator/device-model.ts';
import type { DeviceOptions, PushRegistry } from '../../simulator/device-options.ts';
import { givenCa, type IdentitySource } from '../../simulator/identity-source.ts';
import { Ledger } from '../../simulator/ledger.ts';
import { MdmClient } from '../../simulator/mdm-client.ts';
import { makeRandom } from '../../simulator/random.ts';

export const TEST_TOPIC = 'com.apple.mgmt.External.test';

/** Retries come at once: what is tested is that they come. */
export const IMPATIENT: Behaviour = {
  ...GOOD_BEHAVIOUR,
  backOffMs: [1],
  notNowRetryMs: null,
  restartMs: 1,
  shutDownMs: 1,
  setUpAgainAfterMs: 0,
};

/** Pushes by hand. */
export class TestPushes implements PushRegistry {
  readonly registered = new Map<
    string,
    { readonly topic: string; readonly pushMagic: string; readonly onPush: () => void }
  >();

  register(tokenHex: string, registration: { topic: string; pushMagic: string; onPush: () => void }): void {
    this.registered.set(tokenHex, registration);
  }

  unregister(tokenHex: string): void {
    this.registered.delete(tokenHex);
  }

  /** Wakes whoever registered this token. */
  push(tokenHex: string | undefined): void {
    this.registered.get(tokenHex ?? '')?.onPush();
  }
}

let source: Promise<IdentitySource> | undefined;

/** One CA for all tests of a file: making its key takes longer than most tests. */
export function testIdentities(): Promise<IdentitySource> {
  source ??= createCertificateAuthority({ commonName: 'Test devices', years: 1 }).then((ca) =>
    givenCa(ca.certificatePem, ca.privateKeyPem),
  );
  return source;
}

export interface TestDevice {
  readonly device: SimulatedDevice;
  readonly ledger: Ledger;
  readonly pushes: TestPushes;
  readonly activity: Activity;
  /** Stops the device and closes its connections. */
  stop(): void;
}

export interface TestDeviceOptions
  extends Partial<Pick<DeviceOptions, 'opensUserChannel' | 'awaitsConfiguration' | 'identitySource'>> {
  readonly platform?: Platform;
  readonly seed?: number;
  readonly behaviour?: Partial<Behaviour>;
  readonly keyType?: 'rsa' | 'ec';
  readonly escrowsBootstrapToken?: boolean;
}

export async function makeTestDevice(url: string, options: TestDeviceOptions = {}): Promise<TestDevice> {
  const { platform = 'macOS', seed = 1, behaviour, keyType = 'ec' } = options;
  const random = makeRandom(seed);
  const client = new MdmClient({ url, timeoutMs: 5_000 });
  const ledger = new Ledger();
  const activity = new Activity();
  const pushes = new TestPushes();
  const device = new SimulatedDevice({
    model: drawDeviceModel(random.fork('model'), platform),
    random,
    topic: TEST_TOPIC,
    keyType,
    client,
    identitySource: options.identitySource ?? (await testIdentities()),
    pushRegistry: pushes,
    ledger,
    activity,
    behaviour: { ...IMPATIENT, ...behaviour },
    awaitsConfiguration: options.awaitsConfiguration ?? false,
    escrowsBootstrapToken: options.escrowsBootstrapToken ?? false,
    opensUserChannel: options.opensUserChannel ?? false,
    enrollmentAttempts: 3,
  });
  const stop = () => {
    device.stop();
    client.close();
  };
  return { device, ledger, pushes, activity, stop };
}
