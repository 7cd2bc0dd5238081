const DEFAULT_DELAY_MS = 10_000;

/**
 * How a run tells what its failure means. Not the key is to blame but something that it needs: APNs is away, a certificate has expired. The key is postponed and no
 * attempt is counted, or an outage of minutes would fail everything that was owed. Anything else that is thrown is a bug or a fault of this key: counted, with back-off.
 */
export class RetryLater extends Error {
  readonly delayMs: number;

  /** @param delayMs e.g. from a Retry-After */
  constructor(reason: string, delayMs = DEFAULT_DELAY_MS) {
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
