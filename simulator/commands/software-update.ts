import type { DeviceState } from '../device-state.ts';
import { acknowledge, type CommandTable, type Response } from './command-definition.ts';

const PERCENT_PER_LOOK = 0.5;

interface Update {
  readonly productKey: string;
  readonly version: string;
  readonly build: string;
}

/** The four software update commands, which OS 27 removed; devices up to OS 26 answer them. */
export const SOFTWARE_UPDATE: CommandTable = {
  AvailableOSUpdates: {
    where: 'ismt',
    run: ({ state, place }) =>
      acknowledge({ AvailableOSUpdates: nextUpdates(state).map((next) => offer(next, place === 'm')) }),
  },
  OSUpdateStatus: {
    where: 'ismt',
    run: ({ state }) => {
      const { update } = state;
      if (update === undefined) return acknowledge({ OSUpdateStatus: [] });
      update.percent = Math.min(1, update.percent + PERCENT_PER_LOOK);
      const isDownloaded = update.percent === 1;
      if (isDownloaded) install(state, update);
      const Status = isDownloaded ? 'Installing' : 'Downloading';
      const { productKey: ProductKey, percent: DownloadPercentComplete } = update;
      return acknowledge({
        OSUpdateStatus: [{ ProductKey, IsDownloaded: isDownloaded, DownloadPercentComplete, Status }],
      });
    },
  },
  ScheduleOSUpdate: {
    where: 'ismt',
    needs: { Updates: 'array' },
    run: ({ request, state }) => {
      const results = request.list('Updates').map((wanted): Response => {
        const productKey = wanted.string('ProductKey') ?? '';
        const action = wanted.string('InstallAction') ?? 'Default';
        const version = wanted.string('ProductVersion');
        const found = nextUpdates(state).find((next) => next.productKey === productKey || next.version === version);
        if (found === undefined) {
          const item = {
            ErrorCode: 12048,
            ErrorDomain: 'MCMDMErrorDomain',
            LocalizedDescription: 'No update available',
          };
          return { ProductKey: productKey, InstallAction: 'Error', Status: 'Idle', ErrorChain: [item] };
        }
        state.update = { ...found, percent: 0 };
        const InstallAction = action === 'Default' ? 'InstallASAP' : action;
        return { ProductKey: found.productKey, InstallAction, Status: 'Downloading' };
      });
      return acknowledge({ UpdateResults: results });
    },
  },
  ScheduleOSUpdateScan: { where: 'm', run: () => acknowledge({ ScanInitiated: true }) },
};

/** The one version above the installed one: the last number of the version, one up. */
function nextUpdates({ osVersion, buildVersion }: DeviceState): readonly Update[] {
  const [major = '15', minor = '0', patch = '0'] = osVersion.split('.');
  const version = `${major}.${minor}.${Number(patch) + 1}`;
  return [{ productKey: `MSU_UPDATE_${buildVersion}_patch_${version}`, version, build: `${buildVersion}a` }];
}

function offer({ productKey, version, build }: Update, isMac: boolean): Response {
  return {
    ProductKey: productKey,
    HumanReadableName: `Update ${version}`,
    Version: version,
    Build: build,
    DownloadSize: 1_500_000_000,
    IsCritical: false,
    RestartRequired: true,
    AllowsInstallLater: true,
    IsSecurityResponse: false,
    ...(isMac
      ? {
          HumanReadableNameLocale: 'en',
          MetadataURL: 'https://swcdn.example.invalid/update.smd',
          AppIdentifiersToClose: [],
          IsConfigDataUpdate: false,
          IsFirmwareUpdate: false,
          IsMajorOSUpdate: false,
          RequiresBootstrapToken: true,
        }
      : { ProductName: 'iOS', InstallSize: 3_000_000_000 }),
  };
}

function install(state: DeviceState, update: Update): void {
  state.osVersion = update.version;
  state.buildVersion = update.build;
  state.update = undefined;
}
