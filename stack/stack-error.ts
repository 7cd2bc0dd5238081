/** Every way the embedded stack can refuse to run; the code is stable, the message is for a person. */
export type StackErrorCode =
  | 'binary-missing'
  | 'binary-unusable'
  | 'binary-too-old'
  | 'install-failed'
  | 'folder-in-use'
  | 'folder-unusable'
  | 'folder-of-other-server'
  | 'disk-full'
  | 'server-failed'
  | 'port-busy'
  | 'bad-flag'
  | 'migration-failed'
  | 'child-failed';

/** A failure that a person can act on: printed as its message alone, without a stack trace. */
export class StackError extends Error {
  readonly code: StackErrorCode;

  constructor(code: StackErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StackError';
    this.code = code;
  }
}

/** What any thrown value says, for logs. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
