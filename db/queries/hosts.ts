import type { DeviceDescription } from '../../mdm/check-in.ts';
import type { Executor } from '../connection.ts';

/** Locks hosts by id, ascending: the one lock of everything that changes a host's queue (DESIGN, invariant 3). @returns the keys that are locked now */
export async function lockHosts(t: Executor, keys: readonly string[], wait: boolean): Promise<string[]> {
  const rows = await t.rows<{ id: number }>(
    // Reads a column beyond the key: where the key alone answers, both servers scan a small table and wait for strangers.
    `SELECT id, created_at FROM hosts FORCE INDEX (PRIMARY) WHERE id IN (?) ORDER BY id FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`,
    [keys.map(Number)],
  );
  return rows.map((row) => String(row.id));
}

const clip = (text: string | undefined, length: number): string | null => (text ? text.slice(0, length) : null);

/** The columns `serial_number, device_name, model, model_name, product_name, os_version, build_version`, null where nothing is known. */
export const descriptionValues = (device: DeviceDescription): (string | null)[] => [
  clip(device.serialNumber, 127),
  clip(device.deviceName, 255),
  clip(device.model, 127),
  clip(device.modelName, 127),
  clip(device.productName, 127),
  clip(device.osVersion, 63),
  clip(device.buildVersion, 63),
];

/** Sets what is known of a host; undefined leaves the former value. */
export async function updateHostInventory(t: Executor, hostId: number, device: DeviceDescription): Promise<void> {
  await t.run(
    `UPDATE hosts SET serial_number = COALESCE(?, serial_number), device_name = COALESCE(?, device_name), model = COALESCE(?, model),
       model_name = COALESCE(?, model_name), product_name = COALESCE(?, product_name), os_version = COALESCE(?, os_version),
       build_version = COALESCE(?, build_version), inventory_at = NOW(6) WHERE id = ?`,
    [...descriptionValues(device), hostId],
  );
}
