import { acknowledge, acknowledgeOnly, type CommandTable, malformed, refuseMdm } from './command-definition.ts';

const PIN_LENGTH = 6;

/** Locking, losing, erasing, restarting, and the end of Setup Assistant (apple-protocols §1.9, §10.3). */
export const POWER_AND_LOCK: CommandTable = {
  DeviceLock: {
    where: 'ism',
    run: ({ request, state, place }) => {
      const pin = request.string('PIN');
      if (place === 'm' && pin !== undefined && pin.length !== PIN_LENGTH)
        return malformed('PIN is not 6 characters long');
      if (state.lostMode !== undefined) return acknowledge({ MessageResult: 'DeviceInLostMode' });
      state.isLocked = true;
      const result = state.hasPasscode ? 'Success' : 'NoPasscodeSet';
      return acknowledge({ MessageResult: place === 'm' ? undefined : result });
    },
  },
  EraseDevice: {
    where: 'ismt',
    run: ({ request, place }) => {
      const pin = request.string('PIN');
      if (place === 'm' && pin !== undefined && pin.length !== PIN_LENGTH)
        return malformed('PIN is not 6 characters long');
      return acknowledge({}, 'erase');
    },
  },
  RestartDevice: { where: 'ismt', run: () => acknowledge({}, 'restart') },
  ShutDownDevice: { where: 'ism', run: () => acknowledge({}, 'shut-down') },
  ClearPasscode: {
    where: 'i',
    needs: { UnlockToken: 'data' },
    run: ({ request, state }) => {
      if (!state.unlockToken.equals(request.data('UnlockToken') ?? Buffer.alloc(0))) {
        return refuseMdm(12017, 'The unlock token does not open this device');
      }
      state.hasPasscode = false;
      state.isLocked = false;
      return acknowledge();
    },
  },
  ClearRestrictionsPassword: { where: 'i', run: acknowledgeOnly },
  RequestUnlockToken: { where: 'i', run: ({ state }) => acknowledge({ UnlockToken: state.unlockToken }) },
  EnableLostMode: {
    where: 'is',
    run: ({ request, state }) => {
      const message = request.string('Message');
      const phoneNumber = request.string('PhoneNumber');
      if (message === undefined && phoneNumber === undefined) return malformed('Message or PhoneNumber is needed');
      state.lostMode = { message: message ?? '', phoneNumber: phoneNumber ?? '' };
      return acknowledge();
    },
  },
  DisableLostMode: {
    where: 'is',
    run: ({ state }) => {
      if (state.lostMode === undefined) return refuseMdm(12066, 'The device is not in Lost Mode');
      state.lostMode = undefined;
      return acknowledge();
    },
  },
  PlayLostModeSound: {
    where: 'is',
    run: ({ state }) =>
      state.lostMode === undefined ? refuseMdm(12067, 'The device is not in Lost Mode') : acknowledge(),
  },
  DeviceLocation: {
    where: 'is',
    run: ({ state, random, now }) => {
      if (state.lostMode === undefined) return refuseMdm(12068, 'The device is not in Lost Mode');
      const angle = random.next() * 2 * Math.PI;
      return acknowledge({
        Latitude: 47.5 + Math.sin(angle) / 100,
        Longitude: 9.25 + Math.cos(angle) / 100,
        HorizontalAccuracy: 12.5,
        VerticalAccuracy: 8.5,
        Altitude: 398.5,
        Speed: -1,
        Course: -1,
        Timestamp: now.toISOString(),
      });
    },
  },
  DeviceConfigured: {
    where: 'ismt',
    run: ({ state }) => {
      if (!state.isAwaitingConfiguration) return refuseMdm(12008, 'The device is not awaiting configuration');
      state.isAwaitingConfiguration = false;
      return acknowledge();
    },
  },
  UserConfigured: { where: 'S', run: acknowledgeOnly },
  DeclarativeManagement: {
    where: 'isSmMt',
    run: ({ state }) => {
      state.isDeclarative = true;
      return acknowledge({}, 'synchronize-declarations');
    },
  },
};
