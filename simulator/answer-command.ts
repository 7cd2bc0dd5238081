import {
  type Answer,
  type CommandContext,
  type FieldType,
  malformed,
  type Place,
  refuse,
  refuseMdm,
} from './commands/command-definition.ts';
import { COMMANDS } from './commands/command-table.ts';
import type { Platform } from './device-model.ts';
import type { Fields } from './plist-fields.ts';

const DEVICE_PLACES: Readonly<Record<Platform, Place>> = {
  macOS: 'm',
  iPhone: 'i',
  iPad: 'i',
  sharediPad: 's',
  tvOS: 't',
};

/** Where a channel is, in the letters of the command table. */
export function placeOf(platform: Platform, channel: 'device' | 'user'): Place {
  if (channel === 'device') return DEVICE_PLACES[platform];
  return platform === 'macOS' ? 'M' : 'S';
}

/**
 * What the device says to a command, and what the command changes in `context.state`. A RequestType that this place
 * does not know is Error MCMDMErrorDomain 12021; a known one without its required keys is CommandFormatError.
 */
export function answerCommand(requestType: string, context: CommandContext): Answer {
  const definition = Object.hasOwn(COMMANDS, requestType) ? COMMANDS[requestType] : undefined;
  if (definition?.where.includes(context.place) !== true) {
    return refuseMdm(12021, `“${requestType}” is not a valid request type.`);
  }
  for (const [key, type] of Object.entries(definition.needs ?? {})) {
    if (!hasField(context.request, key, type)) return malformed(`${requestType} needs ${key} (${type})`);
  }
  return definition.run(context);
}

function hasField(request: Fields, key: string, type: FieldType): boolean {
  if (type === 'string') return request.string(key) !== undefined;
  if (type === 'data') return request.data(key) !== undefined;
  if (type === 'integer') return request.integer(key) !== undefined;
  if (type === 'dictionary') return request.fields(key) !== undefined;
  return Array.isArray(request.value(key));
}

/** The Error that a device gives for no reason of the command's own: a fault that was asked for. */
export function failByChance(requestType: string, place: Place): Answer {
  return place === 'm' || place === 'M'
    ? refuse('NSPOSIXErrorDomain', 1, `${requestType}: Operation not permitted`)
    : refuseMdm(12007, `${requestType}: not authorised`);
}

/** iOS answers these also while it is locked (apple-protocols §1.7). */
const NEVER_NOT_NOW_ON_IOS = [
  'DeviceInformation',
  'ProfileList',
  'DeviceLock',
  'EraseDevice',
  'ClearPasscode',
  'ProvisioningProfileList',
  'InstalledApplicationList',
  'Restrictions',
];
/** A Mac answers these also in Power Nap on battery (apple-protocols §1.7). */
const NEVER_NOT_NOW_ON_MAC = [
  'DeleteUser',
  'DeviceLock',
  'EraseDevice',
  'RestartDevice',
  'ShutDownDevice',
  'UserList',
  'ActivationLockBypassCode',
  'ClearActivationLockBypassCode',
  'UnlockUserAccount',
];

export function mayAnswerNotNow(requestType: string, place: Place): boolean {
  const never = place === 'm' || place === 'M' ? NEVER_NOT_NOW_ON_MAC : NEVER_NOT_NOW_ON_IOS;
  return !never.includes(requestType);
}
