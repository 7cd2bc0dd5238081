import type { DeviceState, InstalledApp } from '../device-state.ts';
import type { Fields } from '../plist-fields.ts';
import {
  acknowledge,
  acknowledgeOnly,
  type CommandTable,
  malformed,
  type Response,
  refuseMdm,
} from './command-definition.ts';

/** Installing, listing and removing apps (apple-protocols §1.9, §10.3). An app is there as soon as its install is acknowledged. */
export const APPS: CommandTable = {
  InstallApplication: {
    where: 'ismMt',
    run: ({ request, state }) => {
      const sources = [request.integer('iTunesStoreID'), request.string('Identifier'), request.string('ManifestURL')];
      if (sources.filter((source) => source !== undefined).length !== 1) {
        return malformed('Exactly one of iTunesStoreID, Identifier and ManifestURL is needed');
      }
      const identifier =
        request.string('Identifier') ?? `com.example.app.${sources.find((source) => source !== undefined)}`;
      const wasManaged = state.apps.get(identifier)?.isManaged === true;
      installApp(state, identifier, request);
      return acknowledge({ Identifier: identifier, State: wasManaged ? 'Updating' : 'Installing' });
    },
  },
  InstallEnterpriseApplication: {
    where: 'm',
    run: ({ request, state }) => {
      const url = request.string('ManifestURL');
      const manifest = request.fields('Manifest');
      if (url === undefined && manifest === undefined) return malformed('Manifest or ManifestURL is needed');
      const metadata = manifest?.list('items').at(0)?.fields('metadata');
      installApp(state, metadata?.string('bundle-identifier') ?? `com.example.enterprise.${url ?? 'app'}`, request);
      return acknowledge();
    },
  },
  ApplyRedemptionCode: {
    where: 'i',
    needs: { Identifier: 'string', RedemptionCode: 'string' },
    run: ({ request, state }) =>
      state.apps.get(request.string('Identifier') ?? '')?.state === 'NeedsRedemption'
        ? acknowledge()
        : refuseMdm(12028, 'The app is not waiting for a redemption code'),
  },
  InstalledApplicationList: {
    where: 'ismMt',
    run: ({ request, state, place }) => {
      const wanted = request.strings('Identifiers');
      const apps = [...state.apps.values()].filter(
        (app) =>
          (wanted.length === 0 || wanted.includes(app.identifier)) &&
          (app.isManaged || !request.boolean('ManagedAppsOnly')),
      );
      const items = request.strings('Items');
      const isMac = place === 'm' || place === 'M';
      return acknowledge({ InstalledApplicationList: apps.map((app) => only(describe(app, isMac), items)) });
    },
  },
  RemoveApplication: {
    where: 'ismt',
    needs: { Identifier: 'string' },
    run: ({ request, state }) => {
      const app = state.apps.get(request.string('Identifier') ?? '');
      if (app?.isManaged !== true) return refuseMdm(12029, 'The app is not managed');
      state.apps.delete(app.identifier);
      return acknowledge();
    },
  },
  ValidateApplications: { where: 'ist', run: acknowledgeOnly },
  InviteToProgram: {
    where: 'SM',
    needs: { ProgramID: 'string', InvitationURL: 'string' },
    run: ({ request }) =>
      acknowledge({
        InvitationResult: request.string('ProgramID') === 'com.apple.cloudvpp' ? 'Acknowledged' : 'InvalidProgramID',
      }),
  },
};

function installApp(state: DeviceState, identifier: string, request: Fields): void {
  const before = state.apps.get(identifier);
  state.apps.set(identifier, {
    identifier,
    name: identifier.split('.').at(-1) ?? identifier,
    version: before?.version ?? '1.0',
    isManaged: true,
    bundleSize: 24_000_000,
    configuration: request.value('Configuration') ?? before?.configuration,
    attributes: request.value('Attributes') ?? before?.attributes,
    state: 'Managed',
  });
}

function describe(app: InstalledApp, isMac: boolean): Response {
  const common = {
    Identifier: app.identifier,
    Name: app.name,
    Version: app.version,
    ShortVersion: app.version,
    BundleSize: app.bundleSize,
    ExternalVersionIdentifier: app.isManaged ? 852_000_000 : undefined,
    Installing: false,
    HasUpdateAvailable: false,
  };
  if (isMac) return { ...common, Path: `/Applications/${app.name}.app` };
  return {
    ...common,
    DynamicSize: 1_000_000,
    IsValidated: true,
    AppStoreVendable: app.isManaged,
    DeviceBasedVPP: app.isManaged,
    BetaApp: false,
    AdHocCodeSigned: false,
    IsAppClip: false,
  };
}

/** Without Items everything; else the named keys. Identifier always stays: without it a row says nothing. */
function only(row: Response, items: readonly string[]): Response {
  if (items.length === 0) return row;
  return Object.fromEntries(Object.entries(row).filter(([key]) => key === 'Identifier' || items.includes(key)));
}
