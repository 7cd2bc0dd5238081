import { updateHostInventory } from '../../db/queries/hosts.ts';
import type { UnprocessedReport } from '../../db/queries/unprocessed-reports.ts';
import type { Transaction } from '../../db/transaction.ts';
import { readPlist } from '../../mdm/plist/read-plist.ts';
import { isPlistDict, type PlistDict, type PlistValue } from '../../mdm/plist/value.ts';

const text = (value: PlistValue | undefined): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

/** Takes what a DeviceInformation answer says of the host; keys that were not asked for stay as they were. A refused or malformed answer changes nothing. */
export async function updateInventory(t: Transaction, report: UnprocessedReport): Promise<void> {
  const responses = report.status === 'Acknowledged' ? queryResponses(report.body) : undefined;
  if (responses === undefined) return;
  await updateHostInventory(t, report.hostId, {
    serialNumber: text(responses.SerialNumber),
    deviceName: text(responses.DeviceName),
    model: text(responses.Model),
    modelName: text(responses.ModelName),
    productName: text(responses.ProductName),
    osVersion: text(responses.OSVersion),
    buildVersion: text(responses.BuildVersion),
  });
}

function queryResponses(body: Buffer): PlistDict | undefined {
  const plist = readPlist(body);
  const responses = plist.ok && isPlistDict(plist.value) ? plist.value.QueryResponses : undefined;
  return isPlistDict(responses) ? responses : undefined;
}
