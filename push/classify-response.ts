import { isCertificateAlert } from './certificate-alert.ts';

/**
 * What came of one push at the wire, before anybody judged it.
 * `response`: Apple answered. `goaway`: the session ended under it with a GOAWAY. `failure`: no answer at all.
 * `unusable`: our own certificate, key or headers could not be used; nothing was sent.
 */
export type ApnsAnswer =
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly apnsId?: string;
      readonly reason?: string;
      /** Milliseconds since 1970; Apple gives it with 410. */
      readonly timestamp?: number;
      /** The raw `Retry-After` header. */
      readonly retryAfter?: string;
    }
  | { readonly kind: 'goaway'; readonly errorCode: number; readonly reason?: string }
  | { readonly kind: 'failure'; readonly message: string; readonly code?: string; readonly retryAfterMs?: number }
  | { readonly kind: 'unusable'; readonly what: 'certificate' | 'request'; readonly message: string };

/**
 * `sent` Apple took it (not: delivered). `token-dead` stop using the token. `token-suspect` keep the token, do not retry
 * in a loop, alert when it is many. `rejected` never retry, a bug or a wrong set-up. `certificate` stop the topic and
 * alert. `retry` try again later.
 */
export type PushOutcome = 'sent' | 'token-dead' | 'token-suspect' | 'rejected' | 'certificate' | 'retry';

export interface PushDecision {
  readonly outcome: PushOutcome;
  /** For `retry` only: not sooner than this. Absent: the caller's own back-off. */
  readonly retryAfterMs?: number;
  /** For `token-dead` only: a TokenUpdate newer than this makes the news stale. Absent when Apple gave no time. */
  readonly deadSince?: Date;
  /** Absent for `sent` only. NanoMDM's texts, which its clients show and match (nanomdm §5.3). */
  readonly error?: string;
}

/** Apple's reasons (apple-protocols §2.3). A reason says more than the status it comes with, so it is asked first. */
const OUTCOME_OF_REASON = new Map<string, PushOutcome>([
  ['BadDeviceToken', 'token-suspect'],
  ['DeviceTokenNotForTopic', 'token-suspect'],
  ['Unregistered', 'token-dead'],
  ['ExpiredToken', 'token-dead'],
  ['BadCertificate', 'certificate'],
  ['BadCertificateEnvironment', 'certificate'],
  ['Forbidden', 'certificate'],
  // Provider tokens are not what we send; Apple naming one means that it saw no usable client certificate.
  ['ExpiredProviderToken', 'certificate'],
  ['InvalidProviderToken', 'certificate'],
  ['MissingProviderToken', 'certificate'],
  ['BadTopic', 'rejected'],
  ['MissingTopic', 'rejected'],
  ['TopicDisallowed', 'rejected'],
  ['BadPriority', 'rejected'],
  ['BadExpirationDate', 'rejected'],
  ['BadMessageId', 'rejected'],
  ['BadCollapseId', 'rejected'],
  ['DuplicateHeaders', 'rejected'],
  ['InvalidPushType', 'rejected'],
  ['PayloadEmpty', 'rejected'],
  ['PayloadTooLarge', 'rejected'],
  ['MissingDeviceToken', 'rejected'],
  ['BadPath', 'rejected'],
  ['MethodNotAllowed', 'rejected'],
  ['IdleTimeout', 'retry'],
  ['TooManyRequests', 'retry'],
  ['TooManyProviderTokenUpdates', 'retry'],
  ['InternalServerError', 'retry'],
  ['ServiceUnavailable', 'retry'],
  ['Shutdown', 'retry'],
]);

/** A device that was pushed to too often rests at least this long (apple-protocols §2.3, 429). */
const TOO_MANY_REQUESTS_MS = 60_000;
/** A mistaken `Retry-After` must not park a fleet's pushes for a year. */
const LONGEST_RETRY_AFTER_MS = 3_600_000;

/**
 * What to do about one push, from what came of it. Pure; `now` (milliseconds since 1970) is only used to read an
 * HTTP-date in `Retry-After` and to keep `deadSince` out of the future.
 * The table is apple-protocols §2.3, the never-retry list nanomdm §9.6, the texts nanomdm §5.3.
 */
export function classifyResponse(answer: ApnsAnswer, now: number = Date.now()): PushDecision {
  if (answer.kind === 'response') {
    return classifyStatus(answer, now);
  }
  if (answer.kind === 'goaway') {
    // The HTTP/2 error code stands where the status would (nanomdm §5.3).
    const error = errorText(answer.errorCode, answer.reason, undefined);
    const isCertificate = OUTCOME_OF_REASON.get(answer.reason ?? '') === 'certificate';
    return { outcome: isCertificate ? 'certificate' : 'retry', error };
  }
  if (answer.kind === 'unusable') {
    return { outcome: answer.what === 'certificate' ? 'certificate' : 'rejected', error: answer.message };
  }
  if (answer.code !== undefined && isCertificateAlert(answer.code)) {
    return { outcome: 'certificate', error: answer.message };
  }
  return retry(answer.message, answer.retryAfterMs);
}

function classifyStatus(answer: Extract<ApnsAnswer, { kind: 'response' }>, now: number): PushDecision {
  if (answer.status === 200) {
    return { outcome: 'sent' };
  }
  const outcome = OUTCOME_OF_REASON.get(answer.reason ?? '') ?? outcomeOfStatus(answer.status, answer.reason);
  const error = errorText(answer.status, answer.reason, answer.timestamp);
  if (outcome === 'token-dead') {
    // A time in the future would outlive every TokenUpdate to come.
    const since = answer.timestamp === undefined ? {} : { deadSince: new Date(Math.min(answer.timestamp, now)) };
    return { outcome, error, ...since };
  }
  if (outcome === 'retry') {
    return retry(error, retryAfter(answer, now));
  }
  return { outcome, error };
}

/** For answers whose reason is missing or newer than our table. */
function outcomeOfStatus(status: number, reason: string | undefined): PushOutcome {
  if (status === 403) {
    return 'certificate';
  }
  if (status === 410) {
    // Without a readable reason this may not even be Apple speaking: not enough to bury a token.
    return reason === undefined ? 'token-suspect' : 'token-dead';
  }
  // 408 and 421 ask for another try on another connection (RFC 9110 §15.5.9, §15.5.20).
  const isTransient = status === 408 || status === 421 || status === 429 || status >= 500;
  return isTransient ? 'retry' : 'rejected';
}

function errorText(code: number, reason: string | undefined, timestamp: number | undefined): string {
  if (reason === undefined) {
    return `push HTTP status: ${code}: decoding JSON push error: no reason given`;
  }
  const suffix = timestamp === undefined ? '' : `: timestamp ${timestamp}`;
  return `push HTTP status: ${code}: APNs push error: ${reason}${suffix}`;
}

function retry(error: string, retryAfterMs: number | undefined): PushDecision {
  return retryAfterMs === undefined ? { outcome: 'retry', error } : { outcome: 'retry', error, retryAfterMs };
}

function retryAfter(answer: { status: number; reason?: string; retryAfter?: string }, now: number): number | undefined {
  const asked = readRetryAfter(answer.retryAfter, now);
  const isTooMany = answer.status === 429 || answer.reason?.startsWith('TooMany') === true;
  return isTooMany ? Math.max(TOO_MANY_REQUESTS_MS, asked ?? 0) : asked;
}

/** `Retry-After` is seconds or an HTTP-date (RFC 9110 §10.2.3); anything else is as if it were absent. */
function readRetryAfter(header: string | undefined, now: number): number | undefined {
  const text = header?.trim() ?? '';
  // A date starts with the name of a day; Date.parse alone would also take numbers and fragments.
  const ms = /^\d{1,10}$/.test(text)
    ? Number(text) * 1000
    : /^[A-Z][a-z]/.test(text)
      ? Date.parse(text) - now
      : Number.NaN;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), LONGEST_RETRY_AFTER_MS);
}
