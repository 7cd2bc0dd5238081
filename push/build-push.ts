import http2 from 'node:http2';

/** One push as it goes out. */
export interface PushRequest {
  readonly topic: string;
  readonly token: Buffer;
  readonly pushMagic: string;
  /** A UUID in lower case; Apple gives it back. */
  readonly apnsId: string;
}

/**
 * Why a push cannot be sent at all, or undefined. Node sends header values unchecked, and a peer may drop what is not
 * allowed in one (RFC 9113 §8.2.1) instead of refusing it: Apple would then take the certificate's topic for granted.
 */
export function faultOfPush({ topic, apnsId }: PushRequest): string | undefined {
  if (!/^[\x21-\x7e]{1,255}$/.test(topic)) {
    return 'the push topic is not printable ASCII';
  }
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(apnsId)
    ? undefined
    : 'the apns-id is no UUID in lower case';
}

/**
 * The headers of a push (apple-protocols §2.2). `now` in milliseconds since 1970. Without an expiration Apple would try
 * once and forget, and a sleeping device would never hear of its command (nanomdm §9.6).
 */
export function buildHeaders(request: PushRequest, now: number, expirationSeconds: number): http2.OutgoingHttpHeaders {
  return {
    ':method': 'POST',
    ':path': `/3/device/${request.token.toString('hex')}`,
    'apns-topic': request.topic,
    'apns-push-type': 'mdm',
    'apns-priority': '10',
    'apns-expiration': String(Math.floor(now / 1000) + expirationSeconds),
    'apns-id': request.apnsId,
    'content-type': 'application/json',
    // Never the same twice: kept out of the header compression table, where it would push out what does repeat.
    [http2.sensitiveHeaders]: ['apns-id'],
  };
}

/** The body of a push: this one key, no spaces, no `aps`. */
export function buildBody(pushMagic: string): string {
  return JSON.stringify({ mdm: pushMagic });
}
