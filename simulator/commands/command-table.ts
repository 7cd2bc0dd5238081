import { ACCOUNTS } from './accounts.ts';
import { APPS } from './apps.ts';
import type { CommandTable } from './command-definition.ts';
import { DEVICE_INFORMATION } from './device-information.ts';
import { EXTENSIONS_AND_SERVICES } from './extensions-and-services.ts';
import { MANAGED_APPS } from './managed-apps.ts';
import { MEDIA } from './media.ts';
import { POWER_AND_LOCK } from './power-and-lock.ts';
import { PROFILES } from './profiles.ts';
import { SECURITY } from './security.ts';
import { SETTINGS } from './settings.ts';
import { SOFTWARE_UPDATE } from './software-update.ts';

/** The 68 commands of apple-protocols §1.11, by RequestType. */
export const COMMANDS: CommandTable = {
  ...ACCOUNTS,
  ...APPS,
  ...DEVICE_INFORMATION,
  ...EXTENSIONS_AND_SERVICES,
  ...MANAGED_APPS,
  ...MEDIA,
  ...POWER_AND_LOCK,
  ...PROFILES,
  ...SECURITY,
  ...SETTINGS,
  ...SOFTWARE_UPDATE,
};
