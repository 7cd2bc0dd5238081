/**
 * `(a = ? AND b = ?) OR (…)` for a handful of primary keys. MariaDB scans the whole index for `(a, b) IN ((x, y))` with one tuple;
 * this form is a range on both servers.
 */
export function whereRows(
  columns: readonly string[],
  rows: readonly (readonly (number | string)[])[],
): { sql: string; values: (number | string)[] } {
  const one = `(${columns.map((column) => `${column} = ?`).join(' AND ')})`;
  return { sql: rows.map(() => one).join(' OR '), values: rows.flat() };
}
