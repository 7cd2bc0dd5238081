import type { Fields } from '../plist-fields.ts';
import { acknowledge, type CommandContext, type CommandTable, type Response } from './command-definition.ts';

/** The items of apple-protocols §1.13 and the places that know them (letters as in `Place`). */
const ITEMS: Readonly<Record<string, string>> = {
  Wallpaper: 'is',
  DataRoaming: 'is',
  VoiceRoaming: 'is',
  PersonalHotspot: 'is',
  Bluetooth: 'ism',
  ApplicationConfiguration: 'ismt',
  ApplicationAttributes: 'ist',
  DeviceName: 'ismt',
  HostName: 'm',
  OrganizationInfo: 'ismt',
  DefaultApplications: 'iS',
  MDMOptions: 'ism',
  MaximumResidentUsers: 's',
  SharedDeviceConfiguration: 's',
  DiagnosticSubmission: 's',
  AppAnalytics: 's',
  PasscodeLockGracePeriod: 's',
  TimeZone: 'ist',
  SoftwareUpdateSettings: 'is',
  AccessibilitySettings: 'iS',
};

/** Settings answers per item, in the order asked; a failing item leaves the whole Acknowledged (apple-protocols §1.9). */
export const SETTINGS: CommandTable = {
  Settings: {
    where: 'isSmMt',
    needs: { Settings: 'array' },
    run: (context) =>
      acknowledge({ Settings: context.request.list('Settings').map((item) => applySetting(context, item)) }),
  },
};

function applySetting({ state, place }: CommandContext, item: Fields): Response {
  const name = item.string('Item') ?? '';
  const identifier = item.string('Identifier');
  if (ITEMS[name]?.includes(place) !== true) return failed(28000, `The item "${name}" is not known here`, identifier);
  if (name === 'DeviceName') state.deviceName = item.string('DeviceName') ?? state.deviceName;
  if (name === 'HostName') state.hostName = item.string('HostName') ?? state.hostName;
  if (name === 'ApplicationConfiguration' || name === 'ApplicationAttributes') {
    const app = state.apps.get(identifier ?? '');
    if (app?.isManaged !== true) return failed(12029, 'The app is not managed', identifier);
    const configuration = name === 'ApplicationConfiguration' ? item.value('Configuration') : app.configuration;
    const attributes = name === 'ApplicationAttributes' ? item.value('Attributes') : app.attributes;
    state.apps.set(app.identifier, { ...app, configuration, attributes });
  }
  state.settings.set(
    identifier === undefined ? name : `${name} ${identifier}`,
    item.value(name) ?? item.value('Enabled'),
  );
  return { Status: 'Acknowledged', Identifier: identifier };
}

function failed(code: number, text: string, identifier: string | undefined): Response {
  const domain = code === 28000 ? 'MCSettingsErrorDomain' : 'MCMDMErrorDomain';
  const item = { ErrorCode: code, ErrorDomain: domain, LocalizedDescription: text, USEnglishDescription: text };
  return { Status: 'Error', ErrorChain: [item], Identifier: identifier };
}
