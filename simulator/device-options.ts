import type { Activity } from './activity.ts';
import type { Behaviour } from './behaviour.ts';
import type { DeviceModel } from './device-model.ts';
import type { IdentitySource } from './identity-source.ts';
import type { Ledger } from './ledger.ts';
import type { MdmClient } from './mdm-client.ts';
import type { Random } from './random.ts';

/** Where a device tells its push tokens: the fake APNs. */
export interface PushRegistry {
  register(
    tokenHex: string,
    registration: { readonly topic: string; readonly pushMagic: string; readonly onPush: () => void },
  ): void;
  unregister(tokenHex: string): void;
}

export interface DeviceOptions {
  readonly model: DeviceModel;
  readonly random: Random;
  readonly topic: string;
  readonly keyType: 'rsa' | 'ec';
  readonly client: MdmClient;
  readonly identitySource: IdentitySource;
  readonly pushRegistry: PushRegistry;
  readonly ledger: Ledger;
  readonly activity: Activity;
  readonly behaviour: Behaviour;
  /** Waits in Setup Assistant for DeviceConfigured. */
  readonly awaitsConfiguration: boolean;
  /** Escrows a bootstrap token at enrollment; Macs only. */
  readonly escrowsBootstrapToken: boolean;
  /** Opens the user channel at enrollment, where the model has a user. */
  readonly opensUserChannel: boolean;
  /** How often a check-in of the enrollment is tried before it counts as failed. */
  readonly enrollmentAttempts: number;
}

export type Lifecycle = 'new' | 'enrolled' | 'erased' | 'removed';
