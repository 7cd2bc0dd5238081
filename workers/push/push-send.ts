import type { Metrics } from '../../config/metrics.ts';
import type { Db } from '../../db/db.ts';
import type { TakenRow } from '../../db/outbox.ts';
import type { ApnsClient, PushResult } from '../../push/apns-client.ts';
import { pushEnrollments } from '../../push/push-enrollments.ts';
import { defineJob, type Job, type OutsideJob, type OutsideOutcome } from '../../queue/define-job.ts';
import { RetryLater } from '../../queue/errors.ts';

/** How long a topic with a refused or missing certificate is left alone: a person has to act. */
const CERTIFICATE_RETRY_MS = 60_000;

export interface PushSendOptions {
  readonly db: Db;
  readonly apns: ApnsClient;
  readonly metrics: Metrics;
  readonly repushSeconds: number;
}

/**
 * Pushes to enrollments (key: enrollment) through APNs. Owed when a command became available or an admin asked; many owings of one enrollment are one push.
 * Running it twice is harmless: a push only says "look", and a twin carries the same apns-id.
 */
export const pushSend = ({ db, apns, metrics, repushSeconds }: PushSendOptions): Job =>
  defineJob<OutsideJob>({
    kind: 'push.send',
    effect: 'outside',
    backoffCapMs: 5 * 60_000,
    timeoutMs: 60_000,
    async run(rows: readonly TakenRow[]): Promise<OutsideOutcome> {
      const attempt = await pushEnrollments(
        { db, apns, includeDead: false, repushSeconds },
        rows.map((row) => ({ enrollmentId: Number(row.key), stamp: row.stamp })),
      );
      const failures = new Map<string, Error>();
      for (const [enrollmentId, result] of attempt.results) {
        metrics.countPushes(result.outcome, 1);
        const failure = failureOf(result);
        if (failure !== undefined) failures.set(String(enrollmentId), failure);
      }
      return { record: attempt.record, failures };
    },
  });

/** What may be different later is tried again; a verdict on the token or the request is final, and shown with the enrollment. */
function failureOf(result: PushResult): Error | undefined {
  if (result.outcome === 'retry') return new RetryLater(result.error ?? 'APNs cannot be reached', result.retryAfterMs);
  if (result.outcome === 'certificate')
    return new RetryLater(result.error ?? 'the push certificate is refused', CERTIFICATE_RETRY_MS);
  return undefined;
}
