import type { Log } from '../../config/log.ts';
import type { Metrics } from '../../config/metrics.ts';
import type { Db } from '../../db/db.ts';
import type { TakenRow } from '../../db/outbox.ts';
import { transaction } from '../../db/transaction.ts';
import type { ApnsClient, PushResult } from '../../push/apns-client.ts';
import { pushEnrollments } from '../../push/push-enrollments.ts';

/** How far ahead a push is owed that this process makes at once: should it die in between, a worker pushes. */
export const PUSHED_HERE_MS = 10_000;

export interface PushNowOptions {
  readonly db: Db;
  readonly apns: ApnsClient;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly repushSeconds: number;
}

/**
 * Pushes debts that this process owed, and settles those that APNs gave a verdict on; the others stay owed and a worker tries again. The admin is answered with the
 * verdicts, as NanoMDM does.
 * @returns by internal enrollment id; one without push data is missing
 */
export async function pushNow(
  { db, apns, log, metrics, repushSeconds }: PushNowOptions,
  debts: readonly TakenRow[],
): Promise<ReadonlyMap<number, PushResult>> {
  const attempt = await pushEnrollments(
    { db, apns, includeDead: true, repushSeconds },
    debts.map((row) => ({ enrollmentId: Number(row.key), stamp: row.stamp })),
  );
  const isSettled = (row: TakenRow): boolean => {
    const outcome = attempt.results.get(Number(row.key))?.outcome;
    return outcome !== 'retry' && outcome !== 'certificate';
  };
  for (const { outcome } of attempt.results.values()) metrics.countPushes(outcome, 1);
  await transaction(db, async (t) => {
    await attempt.record(t);
    t.settle('push.send', debts.filter(isSettled));
  }).catch((error: unknown) => {
    // The pushes were made; what could not be written down is still owed and will be made again.
    log.warn('push.unrecorded', { count: debts.length, error });
  });
  return attempt.results;
}
