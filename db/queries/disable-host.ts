import type { Transaction } from '../transaction.ts';

/** A device checked out: all channels of the host are disabled; queue, tokens and associations stay (nanomdm §1.3). */
export async function disableHost(t: Transaction, hostId: number): Promise<void> {
  const channels = (
    await t.rows<{ id: number }>('SELECT id FROM enrollments WHERE host_id = ? ORDER BY id', [hostId])
  ).map((row) => row.id);
  if (channels.length === 0) return;
  await t.run(
    'UPDATE enrollments SET enabled = 0, token_update_tally = 0, disabled_at = NOW(6) WHERE id IN (?) AND enabled = 1',
    [channels],
  );
}
