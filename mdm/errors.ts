/**
 * The catalogue of what can be wrong with bytes from outside: code → HTTP status for a device endpoint.
 * Never a 401: Apple's client takes it as "unenroll" (apple-protocols §1.1).
 */
export const PROTOCOL_ERRORS = {
  'plist.syntax': 400,
  'plist.encoding': 400,
  'plist.limit': 413,
  'der.syntax': 400,
  'der.limit': 400,
  'cms.syntax': 400,
  'cms.unsupported': 400,
  'cms.signature': 400,
  'certificate.missing': 400,
  'certificate.syntax': 400,
  'certificate.untrusted': 400,
  'certificate.expired': 400,
  'certificate.usage': 400,
  'message.type': 400,
  'message.field': 400,
  'message.identity': 400,
  'command.invalid': 400,
  'push-certificate.invalid': 400,
  'csr.invalid': 400,
} as const satisfies Record<string, 400 | 403 | 413>;

export type ProtocolErrorCode = keyof typeof PROTOCOL_ERRORS;

/** A reason why bytes were refused. The message is for logs and admins; it never repeats the bytes themselves. */
export class ProtocolError extends Error {
  readonly code: ProtocolErrorCode;
  readonly status: number;
  /** Byte offset in the input, where one is known. */
  readonly offset: number | undefined;

  constructor(code: ProtocolErrorCode, message: string, offset?: number) {
    super(message);
    this.name = 'ProtocolError';
    this.code = code;
    this.status = PROTOCOL_ERRORS[code];
    this.offset = offset;
  }
}
