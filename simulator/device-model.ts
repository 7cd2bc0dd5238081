import type { Random } from './random.ts';

/** `sharediPad` is an iPad with users: its own rules for many commands (apple-protocols §1.10, `si`). */
export type Platform = 'macOS' | 'iPhone' | 'iPad' | 'sharediPad' | 'tvOS';

/** What a device is from the factory and from its name tag. Erasing it changes none of this. */
export interface DeviceModel {
  readonly platform: Platform;
  /** Upper-case UUID for a Mac, 8-16 upper-case hex for the others (apple-protocols §1.3). */
  readonly udid: string;
  readonly serialNumber: string;
  /** E.g. `Mac15,3`. */
  readonly productName: string;
  /** E.g. `MacBook Pro`. */
  readonly modelName: string;
  /** The order number, e.g. `MTL73LL/A`. */
  readonly modelNumber: string;
  readonly deviceName: string;
  readonly osVersion: string;
  readonly buildVersion: string;
  readonly wifiMac: string;
  readonly bluetoothMac: string;
  /** Only on iPhones. */
  readonly imei: string | undefined;
  /** Gigabytes, base 10. */
  readonly capacity: number;
  /** The person of the user channel; undefined where the platform has none. */
  readonly user: DeviceUser | undefined;
}

export interface DeviceUser {
  /** The constant `FFFFFFFF-…` on a Shared iPad, the account's GUID on a Mac. */
  readonly userId: string;
  readonly shortName: string;
  readonly longName: string;
}

/** Where pushes reach one channel. Drawn anew at every enrollment. */
export interface PushAddress {
  /** 64 lower-case hex digits: 32 bytes. */
  readonly tokenHex: string;
  readonly pushMagic: string;
}

const SHARED_IPAD_USER_ID = 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF';

interface Hardware {
  readonly productName: string;
  readonly modelName: string;
  readonly modelNumber: string;
}
type Choices<T> = readonly [T, ...T[]];

const MAC: Choices<Hardware> = [
  { productName: 'Mac15,3', modelName: 'MacBook Pro', modelNumber: 'MTL73LL/A' },
  { productName: 'Mac14,2', modelName: 'MacBook Air', modelNumber: 'MLXW3LL/A' },
  { productName: 'Mac15,12', modelName: 'MacBook Air', modelNumber: 'MRXN3LL/A' },
  { productName: 'Mac14,3', modelName: 'Mac mini', modelNumber: 'MMFJ3LL/A' },
];
const IPHONE: Choices<Hardware> = [
  { productName: 'iPhone15,2', modelName: 'iPhone', modelNumber: 'MPXR3LL/A' },
  { productName: 'iPhone16,1', modelName: 'iPhone', modelNumber: 'MTQM3LL/A' },
  { productName: 'iPhone14,5', modelName: 'iPhone', modelNumber: 'MLMT3LL/A' },
];
const IPAD: Choices<Hardware> = [
  { productName: 'iPad13,1', modelName: 'iPad', modelNumber: 'MYFM2LL/A' },
  { productName: 'iPad13,18', modelName: 'iPad', modelNumber: 'MPQ13LL/A' },
  { productName: 'iPad14,3', modelName: 'iPad', modelNumber: 'MNXD3LL/A' },
];
const APPLE_TV: Choices<Hardware> = [{ productName: 'AppleTV14,1', modelName: 'Apple TV', modelNumber: 'MN873LL/A' }];

const HARDWARE: Readonly<Record<Platform, Choices<Hardware>>> = {
  macOS: MAC,
  iPhone: IPHONE,
  iPad: IPAD,
  sharediPad: IPAD,
  tvOS: APPLE_TV,
};

/** Pairs of version and build that Apple released. */
const MAC_SYSTEMS: Choices<readonly [string, string]> = [
  ['14.5', '23F79'],
  ['14.6.1', '23G93'],
  ['15.0', '24A335'],
  ['15.1', '24B83'],
];
const MOBILE_SYSTEMS: Choices<readonly [string, string]> = [
  ['17.5.1', '21F90'],
  ['17.6.1', '21G93'],
  ['18.0', '22A3354'],
  ['18.1', '22B83'],
];
const TV_SYSTEMS: Choices<readonly [string, string]> = [
  ['17.5', '21L569'],
  ['18.0', '22J357'],
];

const SYSTEMS: Readonly<Record<Platform, Choices<readonly [string, string]>>> = {
  macOS: MAC_SYSTEMS,
  iPhone: MOBILE_SYSTEMS,
  iPad: MOBILE_SYSTEMS,
  sharediPad: MOBILE_SYSTEMS,
  tvOS: TV_SYSTEMS,
};

/** No I, L, O: they are not used in serial numbers, being too like 1 and 0 (apple-protocols §10.1). */
const SERIAL_LETTERS = '0123456789ABCDEFGHJKMNPQRSTUVWXYZ';
const FIRST_NAMES: Choices<string> = ['Ada', 'Grace', 'Alan', 'Edsger', 'Barbara', 'Donald', 'Radia', 'Ken', 'Frances'];
const LAST_NAMES: Choices<string> = ['Pear', 'Quince', 'Medlar', 'Plum', 'Cherry', 'Fig', 'Apricot', 'Mulberry'];
const CAPACITIES: Choices<number> = [128, 256, 512, 1000];

/** Half Macs, a third iPhones, the rest iPads (one in four of them shared) and a few Apple TVs. */
export function drawPlatform(random: Random): Platform {
  const at = random.next();
  if (at < 0.5) return 'macOS';
  if (at < 0.8) return 'iPhone';
  if (at < 0.93) return 'iPad';
  return at < 0.97 ? 'sharediPad' : 'tvOS';
}

/** One device. Equal streams give equal devices. */
export function drawDeviceModel(
  random: Random,
  platform: Platform = drawPlatform(random.fork('platform')),
): DeviceModel {
  const hardware = random.pick(HARDWARE[platform]);
  const [osVersion, buildVersion] = random.pick(SYSTEMS[platform]);
  const firstName = random.pick(FIRST_NAMES);
  const lastName = random.pick(LAST_NAMES);
  const user = drawUser(random, platform, firstName, lastName);
  return {
    platform,
    udid: drawUdid(random, platform),
    serialNumber: drawSerialNumber(random),
    ...hardware,
    deviceName: `${firstName}’s ${hardware.modelName}`,
    osVersion,
    buildVersion,
    wifiMac: drawMac(random),
    bluetoothMac: drawMac(random),
    imei: platform === 'iPhone' ? drawImei(random) : undefined,
    capacity: random.pick(CAPACITIES),
    user,
  };
}

/** A fresh token and PushMagic. */
export function drawPushAddress(random: Random): PushAddress {
  return { tokenHex: random.bytes(32).toString('hex'), pushMagic: random.uuid() };
}

function drawUdid(random: Random, platform: Platform): string {
  if (platform === 'macOS') return random.uuid();
  const hex = random.bytes(12).toString('hex').toUpperCase();
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}

function drawSerialNumber(random: Random): string {
  return Array.from({ length: 10 }, () => SERIAL_LETTERS[random.int(0, SERIAL_LETTERS.length - 1)]).join('');
}

function drawMac(random: Random): string {
  const bytes = random.bytes(6);
  // Neither multicast nor locally administered.
  bytes[0] = bytes.readUInt8(0) & 0xfc;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function drawImei(random: Random): string {
  const digits = Array.from({ length: 12 }, () => String(random.int(0, 9))).join('');
  return `35 ${digits.slice(0, 6)} ${digits.slice(6)} ${random.int(0, 9)}`;
}

function drawUser(random: Random, platform: Platform, firstName: string, lastName: string): DeviceUser | undefined {
  if (platform !== 'macOS' && platform !== 'sharediPad') return undefined;
  const guid = random.uuid();
  const shortName = `${firstName}.${lastName}`.toLowerCase();
  const userId = platform === 'macOS' ? guid : SHARED_IPAD_USER_ID;
  return { userId, shortName, longName: `${firstName} ${lastName}` };
}
