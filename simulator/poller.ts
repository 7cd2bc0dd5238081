import type { Activity } from './activity.ts';
import type { ReportStatus } from './ledger.ts';

export interface PollerOptions {
  /** One connection; resolves with the last status sent. Rejects when the signal aborts. */
  readonly converse: () => Promise<ReportStatus>;
  readonly activity: Activity;
  /** Null: a device that answered NotNow waits for a push. */
  readonly notNowRetryMs: number | null;
  readonly signal: AbortSignal;
}

/**
 * Keeps a channel to one connection at a time. Polls asked for during one are answered together by one more after it:
 * a push may tell of a command that the server had not yet when it sent its empty reply.
 */
export class Poller {
  readonly #options: PollerOptions;
  #running: Promise<void> | undefined;
  #isAskedAgain = false;
  #comesBack: NodeJS.Timeout | undefined;

  constructor(options: PollerOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => clearTimeout(this.#comesBack), { once: true });
  }

  /** Whether the device will come back by itself because NotNow was its last word. */
  get isPostponed(): boolean {
    return this.#comesBack !== undefined;
  }

  /** Resolves when the connection that serves this call has ended, also when it ended because the channel was closed. */
  poll(): Promise<void> {
    if (this.#running !== undefined) {
      this.#isAskedAgain = true;
      return this.#running;
    }
    if (this.#options.signal.aborted) return Promise.resolve();
    const running = this.#options.activity.during(() => this.#run());
    this.#running = running;
    return running;
  }

  async #run(): Promise<void> {
    const { converse, signal, notNowRetryMs } = this.#options;
    clearTimeout(this.#comesBack);
    this.#comesBack = undefined;
    try {
      let last: ReportStatus;
      do {
        this.#isAskedAgain = false;
        last = await converse();
      } while (this.#isAskedAgain && !signal.aborted);
      if (last === 'NotNow' && notNowRetryMs !== null && !signal.aborted) {
        this.#comesBack = setTimeout(() => void this.poll(), notNowRetryMs).unref();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#running = undefined;
    }
  }
}
