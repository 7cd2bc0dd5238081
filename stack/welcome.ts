import { resolve } from 'node:path';
import type { GeneratedKey } from './generated-keys.ts';

export type Welcome = {
  /** Without a slash at the end. */
  readonly baseUrl: string;
  /** Undefined when the key was given in API_KEY. */
  readonly apiKey: GeneratedKey | undefined;
  readonly dataDir: string;
};

/** What a person needs to know once everything runs. The key itself is shown only once, when it is made. */
export function welcome({ baseUrl, apiKey, dataDir }: Welcome): readonly string[] {
  return [
    'Espalier runs.',
    `  Admin API    ${baseUrl}/v1 (NanoMDM's routes; user name nanomdm)`,
    `  API key      ${describeKey(apiKey)}`,
    `  Job queues   ${baseUrl}/admin/queues (Bull Board; any user name, the API key as password)`,
    `  MDM server   ${baseUrl}/mdm (ServerURL of enrollment profiles)`,
    `  Devices      npm run simulate -- --devices 50${where(baseUrl, dataDir)} (in another terminal: enrolls simulated devices)`,
    `  Data, logs   ${dataDir}`,
    'Ctrl-C stops it.',
  ];
}

/** The flags with which the simulator finds a server that is not at the usual place. */
function where(baseUrl: string, dataDir: string): string {
  const url = baseUrl === 'http://localhost:9000' ? '' : ` --url ${baseUrl}`;
  return dataDir === resolve('.espalier') ? url : `${url} --data-dir ${dataDir}`;
}

function describeKey(key: GeneratedKey | undefined): string {
  if (key === undefined) return 'the one in API_KEY';
  return key.isNew ? `${key.value} (kept in ${key.file})` : `in ${key.file}`;
}
