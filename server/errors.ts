import { isConnectionLoss, isContention } from '../db/errors.ts';
import { ProtocolError } from '../mdm/errors.ts';

/** Every refusal of the server that is not a protocol error: code → status. docs/errors.md lists them. */
export const SERVER_ERRORS = {
  'enrollment.refused': 403,
  'enrollment.unknown': 403,
  'user.unmanaged': 410,
  'body.too-large': 413,
  'body.timeout': 408,
  'body.encoding': 415,
  'body.unreadable': 400,
  'token.unsupported': 400,
  'management.unconfigured': 500,
  'management.failed': 502,
  unavailable: 503,
} as const satisfies Record<string, number>;

export type ServerErrorCode = keyof typeof SERVER_ERRORS;

/** A refusal with its status; the message is for the log. */
export class ServerError extends Error {
  readonly code: ServerErrorCode;
  readonly status: number;
  /** Follows the status text in the answer: what an upstream said (nanomdm §6.2). */
  readonly body: Buffer | undefined;

  constructor(code: ServerErrorCode, message: string, options: { status?: number; body?: Buffer } = {}) {
    super(message);
    this.name = 'ServerError';
    this.code = code;
    this.status = options.status ?? SERVER_ERRORS[code];
    this.body = options.body;
  }
}

/** Somebody else holds a row for longer than a statement waits: nothing was recorded, the sender tries again. */
export class RowHeld extends Error {}

export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly retryAfterSeconds?: number;
}

/** The status of anything that was thrown. A database that is away or contended is 503: the sender tries again and nothing was recorded. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof ServerError || error instanceof ProtocolError) return { status: error.status, code: error.code };
  if (isConnectionLoss(error) || isContention(error) || error instanceof RowHeld)
    return { status: 503, code: 'unavailable', retryAfterSeconds: 5 };
  return { status: 500, code: 'internal' };
}
