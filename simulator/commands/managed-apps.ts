import type { InstalledApp } from '../device-state.ts';
import { acknowledge, type CommandContext, type CommandTable, type Response } from './command-definition.ts';

const EXTERNAL_VERSION = 852_000_000;

/** What managed apps answer about themselves. */
export const MANAGED_APPS: CommandTable = {
  ManagedApplicationList: {
    where: 'ismMt',
    run: (context) =>
      acknowledge({
        ManagedApplicationList: Object.fromEntries(
          managedApps(context).map((app) => [app.identifier, describe(app, context.place)]),
        ),
      }),
  },
  ManagedApplicationAttributes: {
    where: 'ist',
    needs: { Identifiers: 'array' },
    run: (context) =>
      acknowledge({
        ApplicationAttributes: managedApps(context).map((app) => ({
          Identifier: app.identifier,
          Attributes: app.attributes,
        })),
      }),
  },
  ManagedApplicationConfiguration: {
    where: 'ismt',
    needs: { Identifiers: 'array' },
    run: (context) =>
      acknowledge({
        ApplicationConfigurations: managedApps(context).map((app) => ({
          Identifier: app.identifier,
          Configuration: app.configuration,
        })),
      }),
  },
  ManagedApplicationFeedback: {
    where: 'isMt',
    needs: { Identifiers: 'array' },
    run: (context) =>
      acknowledge({
        ManagedApplicationFeedback: managedApps(context).map((app) => ({ Identifier: app.identifier, Feedback: {} })),
      }),
  },
};

function managedApps({ state, request }: CommandContext): InstalledApp[] {
  const wanted = request.strings('Identifiers');
  return [...state.apps.values()].filter(
    (app) => app.isManaged && (wanted.length === 0 || wanted.includes(app.identifier)),
  );
}

function describe(app: InstalledApp, place: string): Response {
  return {
    Status: app.state,
    ManagementFlags: 1,
    HasConfiguration: app.configuration !== undefined,
    HasFeedback: false,
    ExternalVersionIdentifier: EXTERNAL_VERSION,
    ...(place === 'm' || place === 'M' ? {} : { IsValidated: true }),
    ...(place === 'i' || place === 's' ? { UnusedRedemptionCode: '' } : {}),
  };
}
