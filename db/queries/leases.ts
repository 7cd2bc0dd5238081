import type { Executor } from '../connection.ts';

/** Takes or renews a lease by name. @returns whether `holder` has it now. Time is the database's. */
export async function holdLease(db: Executor, name: string, holder: string, forMs: number): Promise<boolean> {
  const until = 'NOW(6) + INTERVAL ? MICROSECOND';
  await db.run(
    `INSERT INTO leases (name, holder, held_until) VALUES (?, ?, ${until})
     ON DUPLICATE KEY UPDATE
       held_until = IF(holder = VALUES(holder) OR held_until < NOW(6), VALUES(held_until), held_until),
       holder = IF(held_until = VALUES(held_until), VALUES(holder), holder)`,
    [name, holder, forMs * 1000],
  );
  const [row] = await db.rows<{ holder: string }>('SELECT holder FROM leases WHERE name = ?', [name]);
  return row?.holder === holder;
}

/** Gives a lease up, so that the next holder need not wait for it to run out. */
export async function releaseLease(db: Executor, name: string, holder: string): Promise<void> {
  await db.run('DELETE FROM leases WHERE name = ? AND holder = ?', [name, holder]);
}
