import { writePlist } from '../mdm/plist/write-plist.ts';
import type { DeviceModel, DeviceUser, PushAddress } from './device-model.ts';
import type { DeviceState } from './device-state.ts';
import { toPlistDict, type WritableValue } from './plist-fields.ts';

/** The keys that say which enrollment speaks; in every message. */
export type IdentityKeys = Readonly<Record<string, string>>;

export function deviceKeys(model: DeviceModel): IdentityKeys {
  return { UDID: model.udid };
}

export function userKeys(model: DeviceModel, user: DeviceUser): IdentityKeys {
  return { UDID: model.udid, UserID: user.userId, UserShortName: user.shortName, UserLongName: user.longName };
}

/** The enrollment id that the server makes of these keys (apple-protocols §1.3). */
export function enrollmentIdOf(model: DeviceModel, user?: DeviceUser): string {
  if (user === undefined) return model.udid;
  return `${model.udid}:${model.platform === 'sharediPad' ? user.shortName : user.userId}`;
}

export interface CheckIn {
  readonly messageType: string;
  readonly body: Buffer;
}

/** A check-in message: identity keys, MessageType, and what belongs to the type. Undefined keys are left out. */
export function makeCheckIn(
  messageType: string,
  keys: IdentityKeys,
  fields: Readonly<Record<string, WritableValue | undefined>> = {},
): CheckIn {
  return { messageType, body: writePlist(toPlistDict({ MessageType: messageType, ...keys, ...fields })) };
}

export function makeAuthenticate(model: DeviceModel, state: DeviceState, topic: string): CheckIn {
  return makeCheckIn('Authenticate', deviceKeys(model), {
    Topic: topic,
    DeviceName: state.deviceName,
    Model: model.modelNumber,
    ModelName: model.modelName,
    ProductName: model.productName,
    SerialNumber: model.serialNumber,
    OSVersion: state.osVersion,
    BuildVersion: state.buildVersion,
    IMEI: model.imei,
  });
}

/** The device channel's TokenUpdate; a Mac has no UnlockToken. */
export function makeDeviceTokenUpdate(
  model: DeviceModel,
  state: DeviceState,
  topic: string,
  push: PushAddress,
): CheckIn {
  return makeCheckIn('TokenUpdate', deviceKeys(model), {
    ...pushFields(topic, push),
    AwaitingConfiguration: state.isAwaitingConfiguration,
    UnlockToken: model.platform === 'macOS' || model.platform === 'tvOS' ? undefined : state.unlockToken,
  });
}

export function makeUserTokenUpdate(keys: IdentityKeys, topic: string, push: PushAddress): CheckIn {
  return makeCheckIn('TokenUpdate', keys, { ...pushFields(topic, push), NotOnConsole: false });
}

function pushFields(topic: string, { tokenHex, pushMagic }: PushAddress) {
  return { Topic: topic, Token: Buffer.from(tokenHex, 'hex'), PushMagic: pushMagic };
}
