import type { Db } from './db.ts';

interface Place {
  readonly table: string;
  readonly key: readonly string[];
  readonly column: string;
}

/** Every column that holds sealed values, with the primary key of its table. A new one must be added here: a test compares with the schema. */
export const SEALED_COLUMNS: readonly Place[] = [
  { table: 'certificate_authorities', key: ['id'], column: 'key_sealed' },
  { table: 'check_ins', key: ['enrollment_id', 'message_type'], column: 'body_sealed' },
  { table: 'command_results', key: ['enrollment_id', 'command_id'], column: 'body_sealed' },
  { table: 'commands', key: ['id'], column: 'body_sealed' },
  { table: 'device_secrets', key: ['enrollment_id', 'name'], column: 'value_sealed' },
  { table: 'push_certs', key: ['topic'], column: 'key_sealed' },
];

const PAGE = 200;

export interface RotationProgress {
  readonly table: string;
  readonly seen: number;
  readonly resealed: number;
}

/**
 * Seals every value again that was sealed with a former key. Runs while servers run (they must know both keys), may be stopped and started again at any time.
 * @returns how many values were sealed again
 */
export async function rotateSecrets(
  db: Db,
  onProgress: (progress: RotationProgress) => void = () => {},
): Promise<number> {
  let total = 0;
  for (const place of SEALED_COLUMNS) total += await rotateColumn(db, place, onProgress);
  return total;
}

async function rotateColumn(
  db: Db,
  { table, key, column }: Place,
  onProgress: (progress: RotationProgress) => void,
): Promise<number> {
  let [seen, resealed] = [0, 0];
  const keys = key.join(', ');
  for (let after: unknown[] | undefined; ; ) {
    const [where, values] = after === undefined ? ['', []] : afterRow(key, after);
    const rows = await db.rows<Record<string, unknown>>(
      `SELECT ${keys}, ${column} AS sealed FROM ${table} ${where} ORDER BY ${keys} LIMIT ${PAGE}`,
      values,
    );
    for (const row of rows) {
      if (await reseal(db, { table, key, column }, row)) resealed += 1;
    }
    seen += rows.length;
    onProgress({ table, seen, resealed });
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return resealed;
    after = key.map((name) => last[name]);
  }
}

/** `a > ? OR (a = ? AND b > ?)`: a range of the primary key on both servers. */
function afterRow(key: readonly string[], after: readonly unknown[]): [string, unknown[]] {
  const parts = key.map((name, index) =>
    [...key.slice(0, index).map((former) => `${former} = ?`), `${name} > ?`].join(' AND '),
  );
  return [`WHERE (${parts.join(') OR (')})`, key.flatMap((_name, index) => after.slice(0, index + 1))];
}

/** Compares before it writes: a value that changed meanwhile was sealed with the new key by whoever changed it. */
async function reseal(db: Db, { table, key, column }: Place, row: Record<string, unknown>): Promise<boolean> {
  const sealed = row.sealed;
  if (!Buffer.isBuffer(sealed) || !db.secrets.isOutdated(sealed)) return false;
  const context = `${table}.${column}`;
  const { affectedRows } = await db.run(
    `UPDATE ${table} SET ${column} = ? WHERE ${key.map((name) => `${name} = ?`).join(' AND ')} AND ${column} = ?`,
    [db.secrets.seal(context, db.secrets.open(context, sealed)), ...key.map((name) => row[name]), sealed],
  );
  return affectedRows === 1;
}
