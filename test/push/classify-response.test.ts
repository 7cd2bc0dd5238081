import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ApnsAnswer, classifyResponse, type PushOutcome } from '../../push/classify-response.ts';
import { readPushError } from '../../push/read-push-error.ts';

const NOW = Date.parse('2026-11-21T10:00:00Z');

/** apple-protocols §2.3, row by row. */
const TABLE: readonly [number, readonly string[], PushOutcome][] = [
  [400, ['BadDeviceToken', 'DeviceTokenNotForTopic'], 'token-suspect'],
  [
    400,
    [
      ...['BadTopic', 'MissingTopic', 'TopicDisallowed', 'BadPriority', 'BadExpirationDate', 'BadMessageId'],
      ...['BadCollapseId', 'DuplicateHeaders', 'InvalidPushType', 'PayloadEmpty', 'MissingDeviceToken'],
    ],
    'rejected',
  ],
  [400, ['IdleTimeout'], 'retry'],
  [403, ['BadCertificate', 'BadCertificateEnvironment', 'Forbidden'], 'certificate'],
  [403, ['ExpiredProviderToken', 'InvalidProviderToken', 'MissingProviderToken'], 'certificate'],
  [404, ['BadPath'], 'rejected'],
  [405, ['MethodNotAllowed'], 'rejected'],
  [410, ['Unregistered', 'ExpiredToken'], 'token-dead'],
  [413, ['PayloadTooLarge'], 'rejected'],
  [429, ['TooManyRequests', 'TooManyProviderTokenUpdates'], 'retry'],
  [500, ['InternalServerError'], 'retry'],
  [503, ['ServiceUnavailable', 'Shutdown'], 'retry'],
];

/** nanomdm §9.6. */
const NEVER_RETRIED = [
  ...['Unregistered', 'ExpiredToken', 'BadDeviceToken', 'DeviceTokenNotForTopic', 'BadTopic', 'TopicDisallowed'],
  ...['BadCertificate', 'BadCertificateEnvironment', 'Forbidden'],
  ...['InvalidProviderToken', 'MissingProviderToken', 'ExpiredProviderToken'],
];

const answered = (status: number, rest: object = {}): ApnsAnswer => ({ kind: 'response', status, ...rest });

describe('apple-protocols §2.3', () => {
  for (const [status, reasons, outcome] of TABLE) {
    test.each(reasons)(`${status} %s is ${outcome}`, (reason) => {
      const decision = classifyResponse(answered(status, { reason }), NOW);
      expect(decision.outcome).toBe(outcome);
      expect(decision.error).toBe(`push HTTP status: ${status}: APNs push error: ${reason}`);
    });
  }

  test('200 is sent, and has no error', () => {
    expect(classifyResponse(answered(200, { apnsId: 'x' }), NOW)).toEqual({ outcome: 'sent' });
  });

  test('410 carries the time since which the token is dead, in the text and as a date', () => {
    const timestamp = Date.parse('2026-11-20T08:00:00Z');
    expect(classifyResponse(answered(410, { reason: 'Unregistered', timestamp }), NOW)).toEqual({
      outcome: 'token-dead',
      deadSince: new Date(timestamp),
      error: `push HTTP status: 410: APNs push error: Unregistered: timestamp ${timestamp}`,
    });
  });

  test('a 410 from the future is dead as of now: a later TokenUpdate must be able to outdate it', () => {
    const decision = classifyResponse(answered(410, { reason: 'ExpiredToken', timestamp: NOW + 1e9 }), NOW);
    expect(decision.deadSince).toEqual(new Date(NOW));
  });

  test('a 410 that cannot be read does not bury the token', () => {
    expect(classifyResponse(answered(410), NOW).outcome).toBe('token-suspect');
  });
});

test.each(NEVER_RETRIED)('nanomdm §10 #58: %s is never retried, whatever the status', (reason) => {
  for (const status of [400, 403, 410, 429, 500, 503]) {
    expect(classifyResponse(answered(status, { reason }), NOW).outcome).not.toBe('retry');
  }
});

describe('reasons that are missing or unknown go by the status', () => {
  test.each([
    [400, 'rejected'],
    [403, 'certificate'],
    [404, 'rejected'],
    [408, 'retry'],
    [421, 'retry'],
    [429, 'retry'],
    [500, 'retry'],
    [502, 'retry'],
    [503, 'retry'],
    [204, 'rejected'],
    [302, 'rejected'],
    [0, 'rejected'],
  ] as const)('%i is %s', (status, outcome) => {
    expect(classifyResponse(answered(status), NOW).outcome).toBe(outcome);
    expect(classifyResponse(answered(status, { reason: 'SomethingNew' }), NOW).outcome).toBe(outcome);
  });

  test('the text of an unreadable body says so', () => {
    expect(classifyResponse(answered(500), NOW).error).toContain('push HTTP status: 500: decoding JSON push error');
  });
});

describe('Retry-After', () => {
  const after = (status: number, retryAfter?: string): number | undefined =>
    classifyResponse(answered(status, retryAfter === undefined ? {} : { retryAfter }), NOW).retryAfterMs;

  test('seconds and HTTP-dates are honoured', () => {
    expect(after(503, '120')).toBe(120_000);
    expect(after(503, 'Sat, 21 Nov 2026 10:01:30 GMT')).toBe(90_000);
    expect(after(500, ' 5 ')).toBe(5000);
  });

  test('429 rests at least a minute', () => {
    expect(after(429)).toBe(60_000);
    expect(after(429, '5')).toBe(60_000);
    expect(after(429, '300')).toBe(300_000);
  });

  test('absent or nonsense is left to the caller; the past is now; a year is an hour', () => {
    expect(after(503)).toBeUndefined();
    for (const nonsense of ['', 'soon', '-1', '1e9', 'Nonsense', '0x10', '2026']) {
      const decision = after(503, nonsense);
      expect(decision === undefined || decision >= 0).toBe(true);
    }
    expect(after(503, 'soon')).toBeUndefined();
    expect(after(503, '-1')).toBeUndefined();
    expect(after(503, 'Sat, 21 Nov 2020 10:00:00 GMT')).toBe(0);
    expect(after(503, '31536000')).toBe(3_600_000);
  });
});

describe('no answer', () => {
  test('network trouble is retried with its own text', () => {
    const answer = { kind: 'failure', code: 'ECONNREFUSED', message: 'connect ECONNREFUSED' } as const;
    expect(classifyResponse(answer, NOW)).toEqual({ outcome: 'retry', error: 'connect ECONNREFUSED' });
  });

  test.each([
    'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED',
    'ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED',
    'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE',
    'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
    'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
    'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_REVOKED',
  ])('an alert about our certificate stops the topic: %s', (code) => {
    expect(classifyResponse({ kind: 'failure', code, message: 'alert' }, NOW).outcome).toBe('certificate');
  });

  test.each([
    'CERT_HAS_EXPIRED',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'ERR_SSL_WRONG_VERSION_NUMBER',
  ])('a fault of the far end is network trouble: %s', (code) => {
    expect(classifyResponse({ kind: 'failure', code, message: 'x' }, NOW).outcome).toBe('retry');
  });

  test('GOAWAY: the HTTP/2 error code stands for the status, the data for the body', () => {
    expect(classifyResponse({ kind: 'goaway', errorCode: 2, reason: 'Shutdown' }, NOW)).toEqual({
      outcome: 'retry',
      error: 'push HTTP status: 2: APNs push error: Shutdown',
    });
    expect(classifyResponse({ kind: 'goaway', errorCode: 0, reason: 'BadCertificate' }, NOW).outcome).toBe(
      'certificate',
    );
    expect(classifyResponse({ kind: 'goaway', errorCode: 0 }, NOW).outcome).toBe('retry');
  });

  test('what we could not even send is a wrong certificate or a bug', () => {
    expect(classifyResponse({ kind: 'unusable', what: 'certificate', message: 'bad' }, NOW).outcome).toBe(
      'certificate',
    );
    expect(classifyResponse({ kind: 'unusable', what: 'request', message: 'bad' }, NOW).outcome).toBe('rejected');
  });
});

describe('reading error bodies', () => {
  test('any bytes give an answer, and a decision that can be stored', () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .record(
          { reason: fc.oneof(fc.string(), fc.anything()), timestamp: fc.oneof(fc.double(), fc.anything()) },
          { requiredKeys: [] },
        )
        .map((value) =>
          Buffer.from(JSON.stringify(value, (_key, inner) => (typeof inner === 'bigint' ? 1 : inner)) ?? ''),
        ),
    );
    fc.assert(
      fc.property(body, fc.integer({ min: 0, max: 999 }), (bytes, status) => {
        const decision = classifyResponse({ kind: 'response', status, ...readPushError(bytes) }, NOW);
        expect(decision.deadSince === undefined || !Number.isNaN(decision.deadSince.getTime())).toBe(true);
        expect(decision.deadSince === undefined || decision.outcome === 'token-dead').toBe(true);
        expect(status === 200 || decision.error?.startsWith(`push HTTP status: ${status}: `)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('a reason is one word, a time is a time', () => {
    expect(readPushError(Buffer.from('{"reason":"Unregistered","timestamp":1700000000000}'))).toEqual({
      reason: 'Unregistered',
      timestamp: 1_700_000_000_000,
    });
    expect(readPushError(Buffer.from('{"reason":"two\\nlines","timestamp":"1"}'))).toEqual({});
    expect(readPushError(Buffer.from('{"reason":"A","timestamp":1e300}'))).toEqual({ reason: 'A' });
    expect(readPushError(Buffer.from(`{"reason":"${'A'.repeat(20_000)}"}`))).toEqual({});
    expect(readPushError(Buffer.alloc(0))).toEqual({});
  });
});
