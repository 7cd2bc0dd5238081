import type { PlistValue } from '../mdm/plist/value.ts';
import type { DeviceModel } from './device-model.ts';
import type { Random } from './random.ts';

/** A profile that lies on the device. */
export interface InstalledProfile {
  readonly identifier: string;
  readonly uuid: string;
  readonly displayName: string | undefined;
  readonly organization: string | undefined;
  readonly description: string | undefined;
  readonly isRemovalDisallowed: boolean;
  readonly isSigned: boolean;
  readonly isEncrypted: boolean;
  readonly payloads: readonly { readonly type: string; readonly identifier: string; readonly uuid: string }[];
}

export interface InstalledApp {
  readonly identifier: string;
  readonly name: string;
  readonly version: string;
  readonly isManaged: boolean;
  readonly bundleSize: number;
  readonly configuration: PlistValue | undefined;
  readonly attributes: PlistValue | undefined;
  /** The AppState of apple-protocols §1.8; `Managed` once installed. */
  readonly state: string;
}

export interface Book {
  readonly key: string;
  readonly storeId: number | undefined;
  readonly persistentId: string | undefined;
  readonly title: string | undefined;
}

export interface LocalUser {
  readonly shortName: string;
  readonly fullName: string;
  readonly uid: number;
  readonly guid: string;
  isLoggedIn: boolean;
}

export interface UpdateInProgress {
  readonly productKey: string;
  readonly version: string;
  readonly build: string;
  percent: number;
}

/** Everything about a device that commands change. Erasing it means making this anew. */
export interface DeviceState {
  osVersion: string;
  buildVersion: string;
  deviceName: string;
  hostName: string;
  isAwaitingConfiguration: boolean;
  isLocked: boolean;
  lostMode: { readonly message: string; readonly phoneNumber: string } | undefined;
  bootstrapToken: Buffer | undefined;
  unlockToken: Buffer;
  hasPasscode: boolean;
  isRemoteDesktopEnabled: boolean;
  firmwarePassword: string | undefined;
  recoveryLock: string | undefined;
  recoveryKey: string | undefined;
  activationLockBypassCode: string | undefined;
  isDeclarative: boolean;
  update: UpdateInProgress | undefined;
  readonly deviceProfiles: Map<string, InstalledProfile>;
  readonly userProfiles: Map<string, InstalledProfile>;
  readonly provisioningProfiles: Map<string, { readonly name: string }>;
  readonly apps: Map<string, InstalledApp>;
  readonly books: Map<string, Book>;
  readonly users: Map<string, LocalUser>;
  /** The last value of each Settings item (and of the app it names, if it names one). */
  readonly settings: Map<string, PlistValue | undefined>;
}

/** A device as it leaves the box or the eraser. */
export function makeDeviceState(model: DeviceModel, random: Random): DeviceState {
  return {
    osVersion: model.osVersion,
    buildVersion: model.buildVersion,
    deviceName: model.deviceName,
    hostName: `${model.serialNumber.toLowerCase()}.local`,
    isAwaitingConfiguration: false,
    isLocked: false,
    lostMode: undefined,
    bootstrapToken: undefined,
    unlockToken: random.bytes(64),
    hasPasscode: true,
    isRemoteDesktopEnabled: false,
    firmwarePassword: undefined,
    recoveryLock: undefined,
    recoveryKey: model.platform === 'macOS' ? drawGroupedCode(random, 6, 4) : undefined,
    activationLockBypassCode: model.platform === 'tvOS' ? undefined : drawGroupedCode(random, 6, 5),
    isDeclarative: false,
    update: undefined,
    deviceProfiles: new Map(),
    userProfiles: new Map(),
    provisioningProfiles: new Map(),
    apps: new Map(factoryApps(model).map((app) => [app.identifier, app])),
    books: new Map(),
    users: new Map(factoryUsers(model, random).map((user) => [user.shortName, user])),
    settings: new Map(),
  };
}

const CODE_LETTERS = '0123456789ACDEFGHJKLMNPQRTUVWXYZ';

/** Groups of letters joined by dashes: the shape of recovery keys (6×4) and of bypass codes. */
export function drawGroupedCode(random: Random, groups: number, length: number): string {
  const group = () => Array.from({ length }, () => CODE_LETTERS[random.int(0, CODE_LETTERS.length - 1)]).join('');
  return Array.from({ length: groups }, group).join('-');
}

function factoryApps(model: DeviceModel): InstalledApp[] {
  const names = model.platform === 'tvOS' ? ['TV', 'Photos'] : ['Safari', 'Notes', 'Reminders', 'Maps'];
  return names.map((name) => ({
    identifier: model.platform === 'macOS' ? `com.apple.${name}` : `com.apple.mobile${name.toLowerCase()}`,
    name,
    version: model.osVersion,
    isManaged: false,
    bundleSize: 12_000_000,
    configuration: undefined,
    attributes: undefined,
    state: 'UserInstalledApp',
  }));
}

function factoryUsers(model: DeviceModel, random: Random): LocalUser[] {
  if (model.user === undefined) return [];
  const { userId, shortName, longName } = model.user;
  const guid = model.platform === 'macOS' ? userId : random.uuid();
  return [{ shortName, fullName: longName, uid: 501, guid, isLoggedIn: true }];
}
