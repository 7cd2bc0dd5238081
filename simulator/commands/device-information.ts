import type { WritableValue } from '../plist-fields.ts';
import { acknowledge, type CommandContext, type CommandTable } from './command-definition.ts';

interface Query {
  /** The places that answer it, letters as in `Place`; a Shared iPad answers as an iPad. */
  readonly where: string;
  readonly value: (context: CommandContext) => WritableValue | undefined;
}

const always = (where: string, value: WritableValue): Query => ({ where, value: () => value });
const ALL = 'isSmMt';
const MOBILE = 'isS';
const MAC = 'mM';

/** The queries of apple-protocols §1.12. One that is not known, or not for this platform, is simply missing in the answer. */
const QUERIES: Readonly<Record<string, Query>> = {
  UDID: { where: ALL, value: ({ model }) => model.udid },
  ProvisioningUDID: { where: MAC, value: ({ model }) => `00008112-${model.udid.replaceAll('-', '').slice(0, 16)}` },
  OrganizationInfo: { where: ALL, value: ({ state }) => state.settings.get('OrganizationInfo') },
  MDMOptions: { where: 'ism', value: ({ state }) => state.settings.get('MDMOptions') ?? {} },
  LastCloudBackupDate: { where: MOBILE, value: ({ now }) => new Date(now.getTime() - 86_400_000) },
  AwaitingConfiguration: { where: ALL, value: ({ state }) => state.isAwaitingConfiguration },
  SoftwareUpdateDeviceID: { where: 'isSmM', value: ({ model }) => model.productName },
  AccessibilitySettings: {
    where: MOBILE,
    value: () => ({ BoldTextEnabled: false, TextSize: 4, VoiceOverEnabled: false, ZoomEnabled: false }),
  },
  iTunesStoreAccountIsActive: always(ALL, false),
  DeviceName: { where: ALL, value: ({ state }) => state.deviceName },
  OSVersion: { where: ALL, value: ({ state }) => state.osVersion },
  BuildVersion: { where: ALL, value: ({ state }) => state.buildVersion },
  SupplementalBuildVersion: { where: ALL, value: ({ state }) => state.buildVersion },
  SupplementalOSVersionExtra: always(ALL, ''),
  ModelName: { where: ALL, value: ({ model }) => model.modelName },
  Model: { where: ALL, value: ({ model }) => (model.platform === 'macOS' ? model.productName : model.modelNumber) },
  ModelNumber: { where: ALL, value: ({ model }) => model.modelNumber },
  IsAppleSilicon: always(MAC, true),
  ProductName: { where: ALL, value: ({ model }) => model.productName },
  SerialNumber: { where: ALL, value: ({ model }) => model.serialNumber },
  DeviceCapacity: { where: 'isSmM', value: ({ model }) => model.capacity + 0.1 },
  AvailableDeviceCapacity: {
    where: 'isSmM',
    value: ({ model, random }) => model.capacity * (0.3 + 0.4 * random.next()),
  },
  IMEI: { where: 'i', value: ({ model }) => model.imei },
  CellularTechnology: { where: MOBILE, value: ({ model }) => (model.platform === 'iPhone' ? 3 : 0) },
  BatteryLevel: { where: 'isSmM', value: ({ random }) => 0.05 + 0.9 * random.next() },
  HasBattery: { where: MAC, value: ({ model }) => model.modelName.startsWith('MacBook') },
  IsSupervised: always(ALL, true),
  IsMultiUser: { where: MOBILE, value: ({ model }) => model.platform === 'sharediPad' },
  IsDeviceLocatorServiceEnabled: always(MOBILE, false),
  IsActivationLockEnabled: always('isSmM', false),
  IsActivationLockSupported: always(MAC, true),
  IsDoNotDisturbInEffect: always(MOBILE, false),
  EASDeviceIdentifier: { where: MOBILE, value: ({ model }) => `APPL${model.serialNumber}` },
  DeviceID: { where: 't', value: ({ model }) => model.wifiMac },
  IsCloudBackupEnabled: always(MOBILE, false),
  ActiveManagedUsers: { where: MAC, value: ({ model }) => (model.user === undefined ? [] : [model.user.userId]) },
  OSUpdateSettings: {
    where: MAC,
    value: ({ now }) => ({
      CatalogURL: '',
      IsDefaultCatalog: true,
      PreviousScanDate: now,
      PerformPeriodicCheck: true,
      AutoCheckEnabled: true,
      BackgroundDownloadEnabled: true,
      AutomaticAppInstallationEnabled: true,
      AutomaticOSInstallationEnabled: false,
      AutomaticSecurityUpdatesEnabled: true,
    }),
  },
  LocalHostName: { where: MAC, value: ({ state }) => state.hostName.replace(/\.local$/, '') },
  HostName: { where: MAC, value: ({ state }) => state.hostName },
  AutoSetupAdminAccounts: always(MAC, []),
  SystemIntegrityProtectionEnabled: always(MAC, true),
  SupportsLOMDevice: always(MAC, false),
  IsMDMLostModeEnabled: { where: MOBILE, value: ({ state }) => state.lostMode !== undefined },
  MaximumResidentUsers: always('sS', 10),
  EstimatedResidentUsers: always('sS', 10),
  QuotaSize: always('sS', 0),
  ResidentUsers: { where: 'sS', value: ({ state }) => state.users.size },
  PushToken: { where: 'isSmM', value: ({ tokenHex }) => Buffer.from(tokenHex, 'hex') },
  DiagnosticSubmissionEnabled: always(MOBILE, false),
  AppAnalyticsEnabled: always(MOBILE, false),
  TimeZone: { where: ALL, value: ({ state }) => state.settings.get('TimeZone') ?? 'Europe/Zurich' },
  PINRequiredForEraseDevice: always(MAC, false),
  PINRequiredForDeviceLock: always(MAC, false),
  SupportsiOSAppInstalls: always(MAC, true),
  EACSPreflight: always(MAC, 'success'),
  BluetoothMAC: { where: ALL, value: ({ model }) => model.bluetoothMac },
  WiFiMAC: { where: ALL, value: ({ model }) => model.wifiMac },
  EthernetMAC: { where: MAC, value: ({ model }) => model.wifiMac },
  DataRoamingEnabled: always(MOBILE, false),
  PersonalHotspotEnabled: always(MOBILE, false),
  IsNetworkTethered: always(MOBILE, false),
  ServiceSubscriptions: {
    where: 'i',
    value: ({ model }) => (model.imei === undefined ? [] : [{ IMEI: model.imei, Slot: 'CTSubscriptionSlotOne' }]),
  },
};

export const DEVICE_INFORMATION: CommandTable = {
  DeviceInformation: {
    where: ALL,
    needs: { Queries: 'array' },
    run: (context) => {
      const answers = context.request.strings('Queries').map((name): [string, WritableValue | undefined] => {
        const query = QUERIES[name];
        return [name, query?.where.includes(context.place) ? query.value(context) : undefined];
      });
      return acknowledge({ QueryResponses: Object.fromEntries(answers) });
    },
  },
};
