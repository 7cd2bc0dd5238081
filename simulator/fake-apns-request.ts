import type { IncomingHttpHeaders } from 'node:http2';

/** A push as the fake received it. */
export interface ReceivedPush {
  readonly tokenHex: string;
  readonly apnsId: string;
  readonly topic: string;
  readonly pushMagic: string;
  /** As sent; absent when the header was. */
  readonly pushType?: string;
  readonly priority?: string;
  readonly expiration?: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What is answered instead of 200. `timestamp` in milliseconds; `body` replaces the JSON made of the two. */
export interface ApnsError {
  readonly status: number;
  readonly reason?: string;
  readonly timestamp?: number;
  readonly retryAfter?: string | number;
  readonly body?: string | Buffer;
}

export type ReadPush = { readonly push: ReceivedPush } | { readonly error: ApnsError };

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const LARGEST_PAYLOAD = 4096;

const refuse = (status: number, reason: string): ReadPush => ({ error: { status, reason } });

/**
 * Judges a request as Apple would (apple-protocols §2.3), first fault first. `certificateTopic`: the UID of the client
 * certificate. Headers that Apple lets be absent may be absent here: NanoMDM sends none of them.
 */
export function readPush(
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  body: Buffer,
  certificateTopic: string | undefined,
  apnsId: string,
): ReadPush {
  const path = headers[':path'] ?? '';
  if (headers[':method'] !== 'POST') {
    return refuse(405, 'MethodNotAllowed');
  }
  if (!path.startsWith('/3/device')) {
    return refuse(404, 'BadPath');
  }
  const tokenHex = path.slice('/3/device/'.length);
  if (tokenHex === '') {
    return refuse(400, 'MissingDeviceToken');
  }
  const fault = faultOfHeaders(headers, rawHeaders) ?? faultOfTopic(one(headers['apns-topic']), certificateTopic);
  if (fault !== undefined) {
    return refuse(400, fault);
  }
  if (!/^([0-9a-f]{2}){1,100}$/.test(tokenHex)) {
    return refuse(400, 'BadDeviceToken');
  }
  if (body.length > LARGEST_PAYLOAD) {
    return refuse(413, 'PayloadTooLarge');
  }
  const pushMagic = readPushMagic(body);
  if (pushMagic === undefined) {
    return refuse(400, 'PayloadEmpty');
  }
  const topic = one(headers['apns-topic']) ?? certificateTopic ?? '';
  return { push: { tokenHex, apnsId, topic, pushMagic, ...optionalHeaders(headers), at: Date.now() } };
}

function faultOfHeaders(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): string | undefined {
  const names = rawHeaders.filter((_, index) => index % 2 === 0).filter((name) => name.startsWith('apns-'));
  if (new Set(names).size < names.length) {
    return 'DuplicateHeaders';
  }
  const wrong: readonly [string, RegExp, string][] = [
    ['apns-id', UUID, 'BadMessageId'],
    ['apns-push-type', /^mdm$/, 'InvalidPushType'],
    ['apns-priority', /^(1|5|10)$/, 'BadPriority'],
    ['apns-expiration', /^\d{1,12}$/, 'BadExpirationDate'],
    ['apns-collapse-id', /^.{1,64}$/, 'BadCollapseId'],
  ];
  return wrong.find(([name, shape]) => headers[name] !== undefined && !shape.test(one(headers[name]) ?? ''))?.[2];
}

function faultOfTopic(topic: string | undefined, certificateTopic: string | undefined): string | undefined {
  if (topic === undefined) {
    return certificateTopic === undefined ? 'MissingTopic' : undefined;
  }
  if (!topic.startsWith('com.apple.mgmt.')) {
    return 'BadTopic';
  }
  return certificateTopic === undefined || certificateTopic === topic ? undefined : 'TopicDisallowed';
}

/** The body must be this object and nothing else. */
function readPushMagic(body: Buffer): string | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    const isOneKey = typeof value === 'object' && value !== null && Object.keys(value).length === 1 && 'mdm' in value;
    return isOneKey && typeof value.mdm === 'string' && value.mdm !== '' ? value.mdm : undefined;
  } catch {
    return undefined;
  }
}

function optionalHeaders(headers: IncomingHttpHeaders): Pick<ReceivedPush, 'pushType' | 'priority' | 'expiration'> {
  const pushType = one(headers['apns-push-type']);
  const priority = one(headers['apns-priority']);
  const expiration = one(headers['apns-expiration']);
  return {
    ...(pushType === undefined ? {} : { pushType }),
    ...(priority === undefined ? {} : { priority }),
    ...(expiration === undefined ? {} : { expiration }),
  };
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
