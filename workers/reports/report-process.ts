import { lockHosts } from '../../db/queries/hosts.ts';
import { markProcessed, readUnprocessedReports } from '../../db/queries/unprocessed-reports.ts';
import type { SecretBox } from '../../db/secret-box.ts';
import { consumersOf } from '../../domain/reports/consumers.ts';
import { type DatabaseJob, defineJob, type Job } from '../../queue/define-job.ts';
import { updateInventory } from './update-inventory.ts';

/**
 * Takes in the results that a host's channels reported (key: host): each goes to whoever wants it, once. The host's row is the lock; a result is marked in the same
 * transaction, so a second run finds nothing.
 */
export const reportProcess = ({ secrets }: { secrets: SecretBox }): Job =>
  defineJob<DatabaseJob>({
    kind: 'report.process',
    effect: 'database',
    lock: (t, keys, wait) => lockHosts(t, keys, wait),
    async run(t, keys) {
      const reports = await readUnprocessedReports(t, secrets, keys.map(Number));
      for (const report of reports) {
        if (consumersOf(report.requestType).includes('inventory')) t.leave(updateInventory(t, report));
      }
      t.leave(markProcessed(t, reports));
      return undefined;
    },
  });
