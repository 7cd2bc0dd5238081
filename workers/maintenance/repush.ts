import { lockOutboxRows } from '../../db/outbox.ts';
import { cancelRepushes, postponeRepushes, readDueRepushes } from '../../db/queries/push-targets.ts';
import { type DatabaseJob, defineJob, type Job } from '../../queue/define-job.ts';

const EVERY_MS = 15_000;
const BATCH = 1_000;
/** Until the push that is owed now sets the next time itself. */
const POSTPONE_SECONDS = 300;

/**
 * Pushes again to channels that were pushed and have still not fetched their commands (apple-protocols §2.5). A tick that re-arms itself; its outbox row is its lock.
 * Running it twice owes the same pushes, which are one.
 */
export const maintenanceRepush = (): Job =>
  defineJob<DatabaseJob>({
    kind: 'maintenance.repush',
    effect: 'database',
    concurrency: 1,
    attempts: Number.POSITIVE_INFINITY,
    dropsHeld: true,
    lock: (t, keys, wait) => lockOutboxRows(t, 'maintenance.repush', keys, wait),
    async run(t) {
      const due = await readDueRepushes(t, BATCH);
      const waiting = due.filter((row) => row.hasCommands === 1).map((row) => row.enrollmentId);
      await cancelRepushes(
        t,
        due.filter((row) => row.hasCommands === 0).map((row) => row.enrollmentId),
      );
      await postponeRepushes(t, waiting, POSTPONE_SECONDS);
      t.owe('push.send', waiting.map(String), { bulk: true });
      return { nextInMs: due.length === BATCH ? 0 : EVERY_MS };
    },
  });
