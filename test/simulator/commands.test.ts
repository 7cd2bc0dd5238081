import { describe, expect, it } from 'vitest';
import { readPlist } from '../../mdm/plist/read-plist.ts';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import { answerCommand } from '../../simulator/answer-command.ts';
import type { Answer, CommandContext, Place } from '../../simulator/commands/command-definition.ts';
import { COMMANDS } from '../../simulator/commands/command-table.ts';
import { drawDeviceModel, type Platform } from '../../simulator/device-model.ts';
import { type DeviceState, makeDeviceState } from '../../simulator/device-state.ts';
import { Fields, toPlistDict, type WritableValue } from '../../simulator/plist-fields.ts';
import { makeRandom } from '../../simulator/random.ts';

type Request = Readonly<Record<string, WritableValue>>;

const PLATFORMS: Readonly<Record<Place, Platform>> = {
  i: 'iPhone',
  s: 'sharediPad',
  S: 'sharediPad',
  m: 'macOS',
  M: 'macOS',
  t: 'tvOS',
};

function makeContext(place: Place, request: Request = {}): CommandContext {
  const random = makeRandom(`commands/${place}`);
  const model = drawDeviceModel(random.fork('model'), PLATFORMS[place]);
  return {
    request: new Fields(toPlistDict(request)),
    place,
    model,
    state: makeDeviceState(model, random.fork('state')),
    random: random.fork('answers'),
    now: new Date('2026-11-21T10:00:00Z'),
    identityCertificate: Buffer.from('certificate'),
    tokenHex: '00'.repeat(32),
  };
}

/** The answer as the server reads it: through a plist and back. */
function ask(context: CommandContext, requestType: string, request: Request = {}): Answer & { readonly read: Fields } {
  const answer = answerCommand(requestType, { ...context, request: new Fields(toPlistDict(request)) });
  const written = readPlist(writePlist(toPlistDict(answer.status === 'Acknowledged' ? answer.response : {})));
  const read = written.ok ? Fields.of(written.value) : undefined;
  if (read === undefined) throw new Error('the response is no dict');
  return { ...answer, read };
}

const profile = writePlist(
  toPlistDict({
    PayloadIdentifier: 'org.example.pear',
    PayloadUUID: '5F1C3D5E-0000-4000-8000-000000000001',
    PayloadDisplayName: 'Pear',
    PayloadContent: [
      { PayloadType: 'com.apple.wifi.managed', PayloadIdentifier: 'org.example.pear.wifi', PayloadUUID: 'W' },
    ],
  }),
);
const provisioning = writePlist(toPlistDict({ UUID: 'P-1', Name: 'Pear' }));
const installApp = (state: DeviceState) => {
  const configuration = toPlistDict({ color: 'green' });
  const app = {
    identifier: 'com.example.pear',
    name: 'pear',
    version: '1',
    bundleSize: 1,
    attributes: toPlistDict({}),
  };
  state.apps.set('com.example.pear', { ...app, configuration, isManaged: true, state: 'Managed' });
};
const await_ = (state: DeviceState) => {
  state.isAwaitingConfiguration = true;
};
const lose = (state: DeviceState) => {
  state.lostMode = { message: 'Lost', phoneNumber: '' };
};
const installProfile = (state: DeviceState) => {
  const kept = { identifier: 'org.example.pear', uuid: 'U', displayName: 'Pear', organization: undefined };
  const flags = { description: undefined, isRemovalDisallowed: false, isSigned: false, isEncrypted: false };
  const payloads = [{ type: 'com.apple.wifi.managed', identifier: 'org.example.pear.wifi', uuid: 'W' }];
  state.deviceProfiles.set('org.example.pear', { ...kept, ...flags, payloads });
};
const pear = { Identifiers: ['com.example.pear'] };

interface Case {
  readonly places: readonly [Place, ...Place[]];
  readonly request?: Request;
  /** Paths of response keys that must be there; `[]` steps into the first element, `*` into the first key. */
  readonly keys?: readonly string[];
  readonly before?: (state: DeviceState) => void;
}

/** Table 1.11 of the protocol reference: every RequestType with its required response keys. */
const TABLE: Readonly<Record<string, Case>> = {
  AccountConfiguration: { places: ['m'], before: await_ },
  ActivationLockBypassCode: { places: ['i', 'm'], keys: ['ActivationLockBypassCode'] },
  ActiveNSExtensions: {
    places: ['M'],
    keys: ['Identifier', 'ExtensionPoint', 'DisplayName', 'Path', 'Version', 'UserElection'].map(
      (key) => `Extensions.[].${key}`,
    ),
  },
  ApplyRedemptionCode: {
    places: ['i'],
    request: { Identifier: 'com.example.waiting', RedemptionCode: 'X' },
    before: (state) => {
      installApp(state);
      const app = state.apps.get('com.example.pear');
      if (app) state.apps.set('com.example.waiting', { ...app, state: 'NeedsRedemption' });
    },
  },
  AvailableOSUpdates: {
    places: ['i', 's', 'm', 't'],
    keys: ['ProductKey', 'HumanReadableName', 'Version', 'Build', 'DownloadSize', 'IsSecurityResponse'].map(
      (key) => `AvailableOSUpdates.[].${key}`,
    ),
  },
  CancelEnhancedLogCollection: { places: ['i', 's', 'M', 't'] },
  CertificateList: {
    places: ['i', 's', 'm', 'M', 't'],
    keys: ['CommonName', 'IsIdentity', 'Data'].map((key) => `CertificateList.[].${key}`),
  },
  ClearActivationLockBypassCode: { places: ['i', 'm'] },
  ClearPasscode: { places: ['i'], request: { UnlockToken: 'replaced' } },
  ClearRestrictionsPassword: { places: ['i'] },
  ContentCachingInformation: { places: ['m'], keys: ['StatusResponse.Activated', 'StatusResponse.Active'] },
  DeclarativeManagement: { places: ['i', 's', 'S', 'm', 'M', 't'] },
  DeleteUser: { places: ['s'], request: { DeleteAllUsers: true } },
  DeviceConfigured: { places: ['i', 's', 'm', 't'], before: await_ },
  DeviceInformation: {
    places: ['i', 's', 'S', 'm', 'M', 't'],
    request: { Queries: ['UDID', 'OSVersion'] },
    keys: ['QueryResponses.UDID', 'QueryResponses.OSVersion'],
  },
  DeviceLocation: {
    places: ['i', 's'],
    before: lose,
    keys: [
      'Latitude',
      'Longitude',
      'HorizontalAccuracy',
      'VerticalAccuracy',
      'Altitude',
      'Speed',
      'Course',
      'Timestamp',
    ],
  },
  DeviceLock: { places: ['i', 's', 'm'] },
  DisableLostMode: { places: ['i', 's'], before: lose },
  DisableRemoteDesktop: { places: ['m'] },
  EnableLostMode: { places: ['i', 's'], request: { Message: 'Lost' } },
  EnableRemoteDesktop: { places: ['m'] },
  EraseDevice: { places: ['i', 's', 'm', 't'] },
  InstallApplication: {
    places: ['i', 's', 'm', 'M', 't'],
    request: { iTunesStoreID: 361_309_726 },
    keys: ['Identifier', 'State'],
  },
  InstallEnterpriseApplication: { places: ['m'], request: { ManifestURL: 'https://example.invalid/manifest.plist' } },
  InstallMedia: { places: ['i', 's'], request: { MediaType: 'Book', iTunesStoreID: 1 }, keys: ['MediaType', 'State'] },
  InstallProfile: { places: ['i', 's', 'S', 'm', 'M', 't'], request: { Payload: profile } },
  InstallProvisioningProfile: { places: ['i', 's', 'm', 't'], request: { ProvisioningProfile: provisioning } },
  InstalledApplicationList: {
    places: ['i', 's', 'm', 'M', 't'],
    keys: ['InstalledApplicationList.[].Identifier', 'InstalledApplicationList.[].Name'],
  },
  InviteToProgram: {
    places: ['S', 'M'],
    request: { ProgramID: 'com.apple.cloudvpp', InvitationURL: 'https://example.invalid/' },
    keys: ['InvitationResult'],
  },
  LOMDeviceRequest: {
    places: ['m'],
    request: { RequestList: [{ DeviceRequestType: 'PowerON', DeviceRequestUUID: 'R-1' }] },
    keys: ['ResponseList.[].DeviceRequestSuccess', 'ResponseList.[].DeviceRequestUUID'],
  },
  LOMSetupRequest: {
    places: ['m'],
    keys: ['PrimaryIPv6AddressList', 'SecondaryIPv6AddressList', 'LOMProtocolVersion'],
  },
  LogOutUser: { places: ['s'] },
  ManagedApplicationAttributes: {
    places: ['i', 's', 't'],
    request: pear,
    before: installApp,
    keys: ['ApplicationAttributes.[].Identifier'],
  },
  ManagedApplicationConfiguration: {
    places: ['i', 's', 'm', 't'],
    request: pear,
    before: installApp,
    keys: ['ApplicationConfigurations.[].Identifier', 'ApplicationConfigurations.[].Configuration.color'],
  },
  ManagedApplicationFeedback: {
    places: ['i', 's', 'M', 't'],
    request: pear,
    before: installApp,
    keys: ['ManagedApplicationFeedback.[].Identifier', 'ManagedApplicationFeedback.[].Feedback'],
  },
  ManagedApplicationList: {
    places: ['i', 's', 'm', 'M', 't'],
    before: installApp,
    keys: ['Status', 'ManagementFlags', 'HasConfiguration', 'HasFeedback', 'ExternalVersionIdentifier'].map(
      (key) => `ManagedApplicationList.*.${key}`,
    ),
  },
  ManagedMediaList: {
    places: ['i', 's'],
    before: (state) => {
      state.books.set('1', { key: '1', storeId: 1, persistentId: undefined, title: undefined });
    },
    keys: ['Books.[].iTunesStoreID', 'Books.[].State'],
  },
  NSExtensionMappings: {
    places: ['M'],
    keys: ['Extensions.[].Identifier', 'Extensions.[].ExtensionPoint', 'Extensions.[].DisplayName'],
  },
  OSUpdateStatus: {
    places: ['i', 's', 'm', 't'],
    before: (state) => {
      state.update = { productKey: 'K', version: '26.1', build: '25B1', percent: 0 };
    },
    keys: ['ProductKey', 'IsDownloaded', 'DownloadPercentComplete', 'Status'].map((key) => `OSUpdateStatus.[].${key}`),
  },
  PlayLostModeSound: { places: ['i', 's'], before: lose },
  ProfileList: {
    places: ['i', 's', 'm', 't'],
    before: installProfile,
    keys: [
      'ProfileList.[].PayloadUUID',
      'ProfileList.[].PayloadIdentifier',
      'ProfileList.[].PayloadContent.[].PayloadType',
      'ProfileList.[].PayloadContent.[].PayloadVersion',
      'ProfileList.[].PayloadContent.[].PayloadIdentifier',
      'ProfileList.[].PayloadContent.[].PayloadUUID',
    ],
  },
  ProvisioningProfileList: {
    places: ['i', 's', 'm', 't'],
    before: (state) => {
      state.provisioningProfiles.set('P-1', { name: 'Pear' });
    },
    keys: ['ProvisioningProfileList.[].Name', 'ProvisioningProfileList.[].UUID'],
  },
  RefreshCellularPlans: { places: ['i', 's'], request: { eSIMServerURL: 'https://example.invalid/' } },
  RemoveApplication: { places: ['i', 's', 'm', 't'], request: { Identifier: 'com.example.pear' }, before: installApp },
  RemoveMedia: { places: ['i', 's'], request: { MediaType: 'Book', iTunesStoreID: '1' } },
  RemoveProfile: { places: ['i', 's', 'm', 't'], request: { Identifier: 'org.example.pear' }, before: installProfile },
  RemoveProvisioningProfile: {
    places: ['i', 's', 'm', 't'],
    request: { UUID: 'P-1' },
    before: (state) => {
      state.provisioningProfiles.set('P-1', { name: 'Pear' });
    },
  },
  RequestMirroring: { places: ['i', 's', 'm'], request: { DestinationName: 'Hall' }, keys: ['MirroringResult'] },
  RequestUnlockToken: { places: ['i'], keys: ['UnlockToken'] },
  RestartDevice: { places: ['i', 's', 'm', 't'] },
  Restrictions: {
    places: ['i', 's', 'S', 't', 'm'],
    keys: ['GlobalRestrictions.restrictedBool', 'GlobalRestrictions.restrictedValue', 'ProfileRestrictions'],
  },
  RotateFileVaultKey: {
    places: ['m'],
    request: { KeyType: 'personal', FileVaultUnlock: { Password: 'quince' } },
    keys: ['RotateResult.EncryptedNewRecoveryKey'],
  },
  ScheduleOSUpdate: {
    places: ['i', 's', 'm', 't'],
    request: { Updates: [{ ProductKey: 'K', InstallAction: 'Default' }] },
    keys: ['UpdateResults.[].ProductKey', 'UpdateResults.[].InstallAction', 'UpdateResults.[].Status'],
  },
  ScheduleOSUpdateScan: { places: ['m'], keys: ['ScanInitiated'] },
  SecurityInfo: { places: ['i', 's', 'm', 'M', 't'], keys: ['SecurityInfo.ManagementStatus'] },
  SetAutoAdminPassword: { places: ['m'], request: { GUID: 'G', passwordHash: Buffer.from('hash') } },
  SetFirmwarePassword: {
    places: ['m'],
    request: { NewPassword: 'fig' },
    keys: ['SetFirmwarePassword.PasswordChanged'],
  },
  SetRecoveryLock: { places: ['m'], request: { NewPassword: 'fig' } },
  Settings: {
    places: ['i', 's', 'm', 't'],
    request: { Settings: [{ Item: 'DeviceName', DeviceName: 'Quince' }] },
    keys: ['Settings.[].Status'],
  },
  ShutDownDevice: { places: ['i', 's', 'm'] },
  StopMirroring: { places: ['i', 's', 'm'] },
  TriggerEnhancedLogCollection: { places: ['i', 's', 'M', 't'], request: { AppleCareToken: 'test-token-normal' } },
  UnlockUserAccount: { places: ['m'], request: { UserName: 'replaced' } },
  UserConfigured: { places: ['S'] },
  UserList: { places: ['s', 'm'], keys: ['Users.[].UserName', 'Users.[].IsLoggedIn'] },
  ValidateApplications: { places: ['i', 's', 't'] },
  VerifyFirmwarePassword: {
    places: ['m'],
    request: { Password: 'x' },
    keys: ['VerifyFirmwarePassword.PasswordVerified'],
  },
  VerifyRecoveryLock: { places: ['m'], request: { Password: 'x' }, keys: ['PasswordVerified'] },
};

/** Requests that name something of the device itself. */
function requestFor(requestType: string, { request = {} }: Case, { state }: CommandContext): Request {
  if (requestType === 'ClearPasscode') return { UnlockToken: state.unlockToken };
  if (requestType === 'UnlockUserAccount') return { UserName: [...state.users.keys()][0] ?? '' };
  return request;
}

function reach(fields: Fields, path: string): unknown {
  const [step = '', ...rest] = path.split('.');
  const key = step === '*' ? (fields.keys[0] ?? '') : step;
  if (rest.length === 0) return fields.value(key);
  const [next, ...after] = rest;
  if (next === '[]') {
    const [element] = fields.list(key);
    return element && reach(element, after.join('.'));
  }
  const inner = fields.fields(key);
  return inner && reach(inner, rest.join('.'));
}

describe('the command table', () => {
  it('has the 68 commands of table 1.11, and no others', () => {
    expect(Object.keys(COMMANDS).sort()).toEqual(Object.keys(TABLE).sort());
    expect(Object.keys(COMMANDS)).toHaveLength(68);
  });

  const cases = Object.entries(TABLE).flatMap(([type, row]) => row.places.map((place) => ({ type, place, row })));
  it.each(cases)('$type is acknowledged at $place with its response keys', ({ type, place, row }) => {
    const context = makeContext(place);
    row.before?.(context.state);
    const { status, read } = ask(context, type, requestFor(type, row, context));
    expect(status).toBe('Acknowledged');
    for (const path of row.keys ?? []) expect(reach(read, path), path).toBeDefined();
  });

  const needy = Object.entries(COMMANDS).flatMap(([type, { needs, where }]) =>
    Object.keys(needs ?? {}).map((key) => ({ type, key, place: where.charAt(0) })),
  );
  it.each(needy)('$type without $key is a CommandFormatError', ({ type, key, place }) => {
    const context = makeContext(placeFrom(place));
    const { [key]: _, ...rest } = { ...TABLE[type]?.request };
    expect(ask(context, type, rest).status).toBe('CommandFormatError');
  });

  it('a command of another platform or channel is an invalid request type', () => {
    for (const [place, type] of [
      ['i', 'AccountConfiguration'],
      ['m', 'EnableLostMode'],
      ['M', 'EraseDevice'],
      ['t', 'SecurityHole'],
      ['m', 'constructor'],
    ] as const) {
      const answer = ask(makeContext(place), type);
      const code = answer.status === 'Error' ? answer.errorChain[0]?.code : undefined;
      expect([type, answer.status, code]).toEqual([type, 'Error', 12021]);
    }
  });
});

function placeFrom(letter: string): Place {
  if (letter === 's' || letter === 'S' || letter === 'm' || letter === 'M' || letter === 't') return letter;
  return 'i';
}

describe('what commands leave behind', () => {
  it('an installed profile is listed, replaced by the same identifier, and removed once', () => {
    const context = makeContext('i');
    ask(context, 'InstallProfile', { Payload: profile });
    ask(context, 'InstallProfile', { Payload: profile });
    expect(ask(context, 'ProfileList').read.list('ProfileList')).toHaveLength(1);
    expect(ask(context, 'RemoveProfile', { Identifier: 'org.example.pear' }).status).toBe('Acknowledged');
    const again = ask(context, 'RemoveProfile', { Identifier: 'org.example.pear' });
    expect(again).toMatchObject({ status: 'Error', errorChain: [{ domain: 'MCMDMErrorDomain', code: 12075 }] });
  });

  it('a Mac says MDMClientError 89 of a profile that is not there', () => {
    const answer = ask(makeContext('m'), 'RemoveProfile', { Identifier: 'none' });
    expect(answer).toMatchObject({ status: 'Error', errorChain: [{ domain: 'MDMClientError', code: 89 }] });
  });

  it('a signed profile is unwrapped, garbage is refused with both error domains', () => {
    const context = makeContext('m');
    const signed = Buffer.concat([Buffer.from([0x30, 0x82, 0x01, 0x00]), profile, Buffer.from([0xa0, 0x03, 1, 2, 3])]);
    expect(ask(context, 'InstallProfile', { Payload: signed }).status).toBe('Acknowledged');
    const refused = ask(context, 'InstallProfile', { Payload: Buffer.from('no profile') });
    expect(refused).toMatchObject({
      status: 'Error',
      errorChain: [
        { domain: 'MCInstallationErrorDomain', code: 4001 },
        { domain: 'MCProfileErrorDomain', code: 1000 },
      ],
    });
  });

  it('profiles of the device and of its user are apart', () => {
    const device = makeContext('m');
    const user: CommandContext = { ...device, place: 'M' };
    ask(user, 'InstallProfile', { Payload: profile });
    expect(ask(device, 'ProfileList').read.list('ProfileList')).toHaveLength(0);
    expect(ask(user, 'ProfileList').read.list('ProfileList')).toHaveLength(1);
  });

  it('Settings answers item by item, in order, and failing items leave it Acknowledged', () => {
    const context = makeContext('i');
    const items = [
      { Item: 'DeviceName', DeviceName: 'Quince' },
      { Item: 'HostName', HostName: 'quince' },
      { Item: 'ApplicationConfiguration', Identifier: 'com.example.absent', Configuration: {} },
    ];
    const { status, read } = ask(context, 'Settings', { Settings: items });
    expect(status).toBe('Acknowledged');
    expect(read.list('Settings').map((item) => item.string('Status'))).toEqual(['Acknowledged', 'Error', 'Error']);
    const { read: information } = ask(context, 'DeviceInformation', {
      Queries: ['DeviceName', 'Nonsense', 'HostName'],
    });
    expect(information.fields('QueryResponses')?.keys).toEqual(['DeviceName']);
    expect(information.fields('QueryResponses')?.string('DeviceName')).toBe('Quince');
  });

  it('an update is downloaded, installed, and then the version is the new one', () => {
    const context = makeContext('m');
    const [offered] = ask(context, 'AvailableOSUpdates').read.list('AvailableOSUpdates');
    const ProductKey = offered?.string('ProductKey') ?? '';
    ask(context, 'ScheduleOSUpdate', { Updates: [{ ProductKey, InstallAction: 'InstallASAP' }] });
    const looks = [1, 2, 3].map(() => ask(context, 'OSUpdateStatus').read.list('OSUpdateStatus')[0]?.string('Status'));
    expect(looks).toEqual(['Downloading', 'Installing', undefined]);
    expect(context.state.osVersion).toBe(offered?.string('Version'));
  });

  it('FileVault keys appear in SecurityInfo with the FileVault payload', () => {
    const context = makeContext('m');
    const fileVault = () => ask(context, 'SecurityInfo').read.fields('SecurityInfo')?.boolean('FDE_Enabled');
    expect(fileVault()).toBe(false);
    const PayloadContent = [{ PayloadType: 'com.apple.MCX.FileVault2', PayloadIdentifier: 'f', PayloadUUID: 'F' }];
    const Payload = writePlist(toPlistDict({ PayloadIdentifier: 'fv', PayloadUUID: 'FV', PayloadContent }));
    ask(context, 'InstallProfile', { Payload });
    expect(fileVault()).toBe(true);
  });

  it('only its own unlock token clears the passcode; a Mac wants a PIN of 6 characters', () => {
    const context = makeContext('i');
    expect(ask(context, 'ClearPasscode', { UnlockToken: Buffer.from('other') }).status).toBe('Error');
    const UnlockToken = ask(context, 'RequestUnlockToken').read.data('UnlockToken') ?? Buffer.of();
    expect(ask(context, 'ClearPasscode', { UnlockToken }).status).toBe('Acknowledged');
    expect(context.state.hasPasscode).toBe(false);
    expect(ask(makeContext('m'), 'DeviceLock', { PIN: '1234' }).status).toBe('CommandFormatError');
  });
});
