import type { PushResult } from '../../push/apns-client.ts';

interface IdStatus {
  push_error?: string;
  push_result?: string;
  command_error?: string;
}

/** The result object of push and enqueue; fields in NanoMDM's order, empty ones left out (nanomdm §4.4). */
export interface NanoResult {
  status?: Record<string, IdStatus>;
  no_push?: true;
  push_error?: string;
  command_error?: string;
  command_uuid?: string;
  request_type?: string;
}

export const PUSH_DATA_MISSING = 'push data missing for id';

/** Per-id results, ids sorted bytewise. `undefined` for an id without push data. A topic that failed as a whole is also the call's `push_error`. */
export function pushStatus(
  results: readonly (readonly [string, PushResult | undefined])[],
): Pick<NanoResult, 'status' | 'push_error'> {
  const entries: [string, IdStatus][] = [];
  let topicError: string | undefined;
  for (const [id, result] of [...results].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    if (result === undefined) entries.push([id, { push_error: PUSH_DATA_MISSING }]);
    else if (result.outcome === 'sent') entries.push([id, { push_result: result.apnsId ?? '' }]);
    else if (isTopicFailure(result)) topicError ??= result.error;
    else {
      const apnsId = result.apnsId === undefined ? {} : { push_result: result.apnsId };
      entries.push([id, { push_error: result.error ?? result.outcome, ...apnsId }]);
    }
  }
  return {
    // Not by assignment: an id may be `__proto__`.
    ...(entries.length > 0 && { status: Object.fromEntries(entries) }),
    ...(topicError !== undefined && { push_error: topicError }),
  };
}

/** No certificate, or one that cannot be used: nothing of this topic was sent. */
const isTopicFailure = (result: PushResult): boolean => result.outcome === 'certificate' && result.status === undefined;

/**
 * 200 all well, 207 some ids failed, 500 all failed or a failure as a whole. Beyond the reference, which answers 500: when the ids are simply unknown it is the
 * caller's mistake, 404.
 * @param idCount ids of the call, repetitions counted
 */
export function nanoStatusCode(result: NanoResult, idCount: number): number {
  if (result.push_error !== undefined || result.command_error !== undefined) return 500;
  const failed = Object.values(result.status ?? {}).filter(
    (entry) => entry.push_error !== undefined || entry.command_error !== undefined,
  );
  if (failed.length === 0) return 200;
  if (failed.length < idCount) return 207;
  return failed.every((entry) => entry.push_error === PUSH_DATA_MISSING) ? 404 : 500;
}
