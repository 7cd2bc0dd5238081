import {
  acknowledge,
  acknowledgeOnly,
  type CommandContext,
  type CommandTable,
  malformed,
  type Response,
} from './command-definition.ts';

const LIGHTS_OUT_ADDRESSES = ['fe80::aa20:66ff:fe12:3456'];
const LIGHTS_OUT_VERSION = 1;

/** App extensions, content caching, lights-out management, mirroring, remote desktop, logs, eSIM. */
export const EXTENSIONS_AND_SERVICES: CommandTable = {
  ActiveNSExtensions: {
    where: 'M',
    run: ({ request }) => {
      const wanted = request.strings('FilterExtensionPoints');
      const extensions = EXTENSIONS.filter(
        ({ ExtensionPoint }) => wanted.length === 0 || wanted.includes(ExtensionPoint),
      );
      return acknowledge({ Extensions: extensions.map((extension) => ({ ...extension, ...EXTENSION_DETAILS })) });
    },
  },
  NSExtensionMappings: { where: 'M', run: () => acknowledge({ Extensions: [...EXTENSIONS] }) },
  ContentCachingInformation: { where: 'm', run: (context) => acknowledge({ StatusResponse: contentCache(context) }) },
  LOMDeviceRequest: {
    where: 'm',
    needs: { RequestList: 'array' },
    run: ({ request }) =>
      acknowledge({
        ResponseList: request.list('RequestList').map((asked) => ({
          DeviceRequestSuccess: true,
          DeviceRequestUUID: asked.string('DeviceRequestUUID') ?? '',
        })),
      }),
  },
  LOMSetupRequest: {
    where: 'm',
    run: () =>
      acknowledge({
        PrimaryIPv6AddressList: LIGHTS_OUT_ADDRESSES,
        SecondaryIPv6AddressList: [],
        LOMProtocolVersion: LIGHTS_OUT_VERSION,
      }),
  },
  EnableRemoteDesktop: { where: 'm', run: (context) => setRemoteDesktop(context, true) },
  DisableRemoteDesktop: { where: 'm', run: (context) => setRemoteDesktop(context, false) },
  RequestMirroring: {
    where: 'ism',
    run: ({ request }) => {
      const isNamed =
        request.string('DestinationName') !== undefined || request.string('DestinationDeviceID') !== undefined;
      return isNamed
        ? acknowledge({ MirroringResult: 'Prompting' })
        : malformed('DestinationName or DestinationDeviceID is needed');
    },
  },
  StopMirroring: { where: 'ism', run: acknowledgeOnly },
  RefreshCellularPlans: { where: 'is', needs: { eSIMServerURL: 'string' }, run: acknowledgeOnly },
  TriggerEnhancedLogCollection: { where: 'isMt', needs: { AppleCareToken: 'string' }, run: acknowledgeOnly },
  CancelEnhancedLogCollection: { where: 'isMt', run: acknowledgeOnly },
};

const EXTENSIONS = [
  { Identifier: 'com.apple.ncplugin.weather', ExtensionPoint: 'com.apple.widget-extension', DisplayName: 'Weather' },
  { Identifier: 'com.apple.share.AirDrop.send', ExtensionPoint: 'com.apple.share-services', DisplayName: 'AirDrop' },
];
const EXTENSION_DETAILS = { Path: '/System/Library/Extension.appex', Version: '1.0', UserElection: 'Default' };

function setRemoteDesktop({ state }: CommandContext, isEnabled: boolean) {
  state.isRemoteDesktopEnabled = isEnabled;
  return acknowledge();
}

function contentCache({ now }: CommandContext): Response {
  return {
    Activated: true,
    Active: true,
    ActualCacheUsed: 2_000_000,
    CacheFree: 50_000_000_000,
    CacheLimit: 0,
    CacheStatus: 'OK',
    CacheUsed: 2_000_000,
    DataMigrationCompleted: true,
    Parents: [],
    Peers: [],
    PersonalCacheFree: 50_000_000_000,
    PersonalCacheLimit: 0,
    PersonalCacheUsed: 0,
    Port: 49_152,
    PrivateAddresses: ['192.0.2.10'],
    PublicAddress: '198.51.100.10',
    RegistrationStatus: 1,
    RestrictedMedia: false,
    StartupStatus: 'OK',
    TetheratorStatus: 0,
    TotalBytesAreSince: now,
    TotalBytesDropped: 0,
    TotalBytesImported: 0,
    TotalBytesReturnedToClients: 1_000_000,
    TotalBytesStoredFromOrigin: 1_000_000,
  };
}
