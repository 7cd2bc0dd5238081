import type { DeviceModel } from '../device-model.ts';
import type { DeviceState } from '../device-state.ts';
import { type Declaration, KINDS } from './declaration.ts';
import type { Verdict } from './evaluate-declarations.ts';

const SUBSCRIPTIONS = 'com.apple.configuration.management.status-subscriptions';

type StatusItem = (model: DeviceModel, state: DeviceState) => unknown;

const OS_FAMILIES = { macOS: 'macOS', iPhone: 'iOS', iPad: 'iPadOS', sharediPad: 'iPadOS', tvOS: 'tvOS' } as const;

/** The status items that a simulated device can deliver (apple-protocols §7.4). */
const STATUS_ITEMS: Readonly<Record<string, StatusItem>> = {
  'device.identifier.serial-number': (model) => model.serialNumber,
  'device.identifier.udid': (model) => model.udid,
  'device.model.family': (model) => (model.platform === 'macOS' ? 'Mac' : model.modelName),
  'device.model.identifier': (model) => model.productName,
  'device.model.marketing-name': (model) => model.modelName,
  'device.model.number': (model) => model.modelNumber,
  'device.operating-system.family': (model) => OS_FAMILIES[model.platform],
  'device.operating-system.version': (_, state) => state.osVersion,
  'device.operating-system.build-version': (_, state) => state.buildVersion,
  'passcode.is-compliant': () => true,
  'passcode.is-present': (_, state) => state.hasPasscode,
  'mdm.is-awaiting-configuration': (_, state) => state.isAwaitingConfiguration,
  'test.string-value': () => 'test',
  'test.integer-value': () => 1,
};

const CLIENT_CAPABILITIES = {
  'supported-versions': ['1.0.0'],
  'supported-features': {},
  'supported-payloads': {
    declarations: {
      activations: ['com.apple.activation.simple'],
      assets: ['com.apple.asset.data', 'com.apple.asset.useridentity'],
      configurations: [SUBSCRIPTIONS, 'com.apple.configuration.management.test', 'com.apple.configuration.legacy'],
      management: ['com.apple.management.organization-info', 'com.apple.management.properties'],
    },
    'status-items': Object.keys(STATUS_ITEMS),
  },
};

export interface StatusReportContent {
  readonly model: DeviceModel;
  readonly state: DeviceState;
  readonly declarations: readonly Declaration[];
  readonly verdicts: readonly Verdict[];
  /** The first report of a channel tells everything. */
  readonly isFull: boolean;
}

/** The JSON of a status report: the verdicts, and the items that active subscriptions ask for. */
export function makeStatusReport({ model, state, declarations, verdicts, isFull }: StatusReportContent): Buffer {
  const items: Record<string, unknown> = {};
  const errors: unknown[] = [];
  place(items, 'management.declarations', declarationStates(verdicts));
  if (isFull) place(items, 'management.client-capabilities', CLIENT_CAPABILITIES);
  for (const name of subscribedItems(declarations, verdicts)) {
    const item = Object.hasOwn(STATUS_ITEMS, name) ? STATUS_ITEMS[name] : undefined;
    if (item === undefined) errors.push({ StatusItem: name, Reasons: [{ Code: 'Error.UnsupportedStatusValue' }] });
    else place(items, name, item(model, state));
  }
  return Buffer.from(JSON.stringify({ StatusItems: items, Errors: errors, ...(isFull && { FullReport: true }) }));
}

function declarationStates(verdicts: readonly Verdict[]) {
  const ofKind = (wanted: string) =>
    verdicts
      .filter(({ kind }) => kind === wanted)
      .map(({ identifier, serverToken, active, valid, reasons }) => ({
        identifier,
        'server-token': serverToken,
        active,
        valid,
        ...(reasons.length > 0 && { reasons }),
      }));
  return Object.fromEntries(KINDS.map(({ kind, inStatus }) => [inStatus, ofKind(kind)]));
}

function subscribedItems(declarations: readonly Declaration[], verdicts: readonly Verdict[]): Set<string> {
  const active = new Set(verdicts.filter((verdict) => verdict.active).map(({ identifier }) => identifier));
  const names = declarations
    .filter(({ Type, Identifier }) => Type === SUBSCRIPTIONS && active.has(Identifier))
    .flatMap(({ Payload }) => namesIn(Payload.StatusItems));
  return new Set(names);
}

function namesIn(items: unknown): string[] {
  if (!Array.isArray(items)) return [];
  return items.flatMap((item: unknown) => {
    const hasName = typeof item === 'object' && item !== null && 'Name' in item;
    return hasName && typeof item.Name === 'string' ? item.Name : [];
  });
}

/** Puts a value where the dots of its name lead. */
function place(into: Record<string, unknown>, name: string, value: unknown): void {
  const steps = name.split('.');
  const last = steps.pop() ?? name;
  let at = into;
  for (const step of steps) {
    const next = at[step];
    const inner: Record<string, unknown> = isRecord(next) ? next : {};
    at[step] = inner;
    at = inner;
  }
  at[last] = value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
