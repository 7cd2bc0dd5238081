/** How a run tells what its failure means. Anything else that is thrown is a bug or a passing fault: retried with back-off, logged as an error. */
export class RetryLater extends Error {
  readonly delayMs: number | undefined;

  /** @param delayMs overrides the back-off of the kind, e.g. from a Retry-After */
  constructor(reason: string, delayMs?: number) {
    super(reason);
    this.name = 'RetryLater';
    this.delayMs = delayMs;
  }
}

/** Trying again cannot help: the row is failed at once and shown. */
export class GiveUp extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'GiveUp';
  }
}
