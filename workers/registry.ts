import type { Metrics } from '../config/metrics.ts';
import type { Db } from '../db/db.ts';
import type { JobKind } from '../domain/job-kinds.ts';
import type { ApnsClient } from '../push/apns-client.ts';
import type { Job } from '../queue/define-job.ts';
import { maintenanceRepush } from './maintenance/repush.ts';
import { pushSend } from './push/push-send.ts';
import { reportProcess } from './reports/report-process.ts';

export interface JobServices {
  readonly db: Db;
  readonly apns: ApnsClient;
  readonly metrics: Metrics;
  readonly repushSeconds: number;
}

/** Every kind of work and the job that does it. A kind without a job does not compile. */
export const createJobs = (services: JobServices): Readonly<Record<JobKind, Job>> => ({
  'maintenance.repush': maintenanceRepush(),
  'push.send': pushSend(services),
  'report.process': reportProcess(services.db),
});
