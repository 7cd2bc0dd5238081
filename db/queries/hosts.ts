import type { Executor } from '../connection.ts';

/** Locks hosts by id, ascending: the one lock of everything that changes a host's queue (DESIGN, invariant 3). @returns the keys that are locked now */
export async function lockHosts(t: Executor, keys: readonly string[], wait: boolean): Promise<string[]> {
  const rows = await t.rows<{ id: number }>(
    `SELECT id FROM hosts WHERE id IN (?) ORDER BY id FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`,
    [keys.map(Number)],
  );
  return rows.map((row) => String(row.id));
}

export interface HostInventory {
  readonly serialNumber: string | undefined;
  readonly deviceName: string | undefined;
  readonly model: string | undefined;
  readonly modelName: string | undefined;
  readonly productName: string | undefined;
  readonly osVersion: string | undefined;
  readonly buildVersion: string | undefined;
}

/** Sets what is known of a host; undefined leaves the former value. */
export async function updateHostInventory(t: Executor, hostId: number, inventory: HostInventory): Promise<void> {
  const { serialNumber, deviceName, model, modelName, productName, osVersion, buildVersion } = inventory;
  const clipped = [
    serialNumber?.slice(0, 127),
    deviceName?.slice(0, 255),
    model?.slice(0, 127),
    modelName?.slice(0, 127),
    productName?.slice(0, 127),
    osVersion?.slice(0, 63),
    buildVersion?.slice(0, 63),
  ];
  await t.run(
    `UPDATE hosts SET serial_number = COALESCE(?, serial_number), device_name = COALESCE(?, device_name), model = COALESCE(?, model), model_name = COALESCE(?, model_name),
       product_name = COALESCE(?, product_name), os_version = COALESCE(?, os_version), build_version = COALESCE(?, build_version), inventory_at = NOW(6) WHERE id = ?`,
    [...clipped.map((value) => value ?? null), hostId],
  );
}
