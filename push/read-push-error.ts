/** What Apple's error body and GOAWAY data may say. Both absent when the bytes are not such a body. */
export interface PushError {
  readonly reason?: string;
  /** Milliseconds since 1970. */
  readonly timestamp?: number;
}

/** Apple's bodies are under 100 bytes; more than this is not read. */
export const LONGEST_PUSH_ERROR = 16_384;
const LATEST_TIME = 8.64e15;

/**
 * Reads `{"reason": string, "timestamp"?: milliseconds}` (apple-protocols §2.3) from bytes that may be anything.
 * Never throws; what is not of that shape is left out. A reason is one word, so that it is safe in logs and texts.
 */
export function readPushError(bytes: Buffer): PushError {
  if (bytes.length === 0 || bytes.length > LONGEST_PUSH_ERROR) {
    return {};
  }
  let body: unknown;
  try {
    body = JSON.parse(bytes.toString('utf8'));
  } catch {
    return {};
  }
  if (typeof body !== 'object' || body === null) {
    return {};
  }
  const reason = 'reason' in body ? body.reason : undefined;
  const timestamp = 'timestamp' in body ? body.timestamp : undefined;
  return {
    ...(typeof reason === 'string' && /^[A-Za-z0-9_.-]{1,100}$/.test(reason) ? { reason } : {}),
    ...(typeof timestamp === 'number' && timestamp > 0 && timestamp <= LATEST_TIME ? { timestamp } : {}),
  };
}
