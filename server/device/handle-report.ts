import type { Log } from '../../config/log.ts';
import type { Metrics } from '../../config/metrics.ts';
import { type CommandReport, isFinal, isIdle, isNotNow } from '../../mdm/command-report.ts';
import { ServerError } from '../errors.ts';
import { type Answer, NOTHING } from './answer.ts';
import type { Speaker } from './authorize.ts';
import type { DeviceStore } from './device-store.ts';
import type { LastSeen } from './last-seen.ts';

export interface ReportOptions {
  readonly store: DeviceStore;
  readonly lastSeen: LastSeen;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Records a report and answers with the next command (nanomdm §2). The report is committed before the answer; should the answer get lost, the device reports again
 * and nothing changes.
 */
export async function handleReport(
  { store, lastSeen, log, metrics }: ReportOptions,
  speaker: Speaker,
  report: CommandReport,
  body: Buffer,
): Promise<Answer> {
  const { channel } = speaker;
  if (channel === undefined) return answerStranger(report);
  lastSeen.add(channel.enrollmentId);
  let isKnown = true;
  if (!isIdle(report.status)) {
    isKnown =
      report.commandUuid !== undefined &&
      (await store.recordReport({ ...rowOf(report), ...channel, commandUuid: report.commandUuid, body }));
    const fields = { enrollmentId: report.enrollment.id, commandUUID: report.commandUuid, status: report.status };
    if (isKnown) log.debug('command.reported', fields);
    else log.warn('command.unknown', fields);
  }
  metrics.countReports(report.status, isKnown);
  const next = await store.nextCommand(channel.enrollmentId, isNotNow(report.status));
  if (next === undefined) return NOTHING;
  log.debug('command.sent', { enrollmentId: report.enrollment.id, commandUUID: next.commandUuid });
  return { body: next.body };
}

const rowOf = (report: CommandReport) => ({ status: report.status, isFinal: isFinal(report.status) });

/** A user channel of a known device that has never sent a TokenUpdate: it has no queue, and can have no command to answer. */
function answerStranger(report: CommandReport): Answer {
  if (isIdle(report.status)) return NOTHING;
  throw new ServerError('enrollment.unknown', 'a report of a channel that never enrolled');
}
