export interface CircuitOptions {
  /** Consecutive incidents that open it; 5. */
  readonly failures?: number;
  /** First rest, 5 s; doubles with each probe that fails, up to `longestRestMs`, 2 min (nanomdm §9.6). */
  readonly firstRestMs?: number;
  readonly longestRestMs?: number;
  readonly now?: () => number;
}

export type Admission =
  | { readonly admitted: true; readonly isProbe: boolean }
  | { readonly admitted: false; readonly retryAfterMs: number };

/** How long callers wait while somebody else's probe is under way. */
const PROBE_UNDER_WAY_MS = 1000;

/**
 * Refuses quickly while the far end is away, so that ten thousand pushes do not each wait for a time-out, and lets one
 * through from time to time to see whether it is back.
 */
export class Circuit {
  readonly #options: Required<CircuitOptions>;
  #failures = 0;
  #restMs = 0;
  #openUntil: number | undefined;
  #isProbing = false;

  constructor(options: CircuitOptions = {}) {
    this.#options = { failures: 5, firstRestMs: 5000, longestRestMs: 120_000, now: Date.now, ...options };
  }

  admit(): Admission {
    if (this.#openUntil === undefined) {
      return { admitted: true, isProbe: false };
    }
    if (this.#isProbing) {
      return { admitted: false, retryAfterMs: PROBE_UNDER_WAY_MS };
    }
    const left = this.#openUntil - this.#options.now();
    if (left > 0) {
      return { admitted: false, retryAfterMs: left };
    }
    this.#isProbing = true;
    return { admitted: true, isProbe: true };
  }

  /** Any answer of the far end, whatever it says. */
  succeeded(): void {
    this.#failures = 0;
    this.#restMs = 0;
    this.#openUntil = undefined;
    this.#isProbing = false;
  }

  /** One incident at the transport. Gives the rest in ms when this is the one that opened the circuit (again). */
  failed(): number | undefined {
    this.#failures += 1;
    const isHalfOpen = this.#isProbing;
    if (!isHalfOpen && (this.#openUntil !== undefined || this.#failures < this.#options.failures)) {
      return undefined;
    }
    this.#restMs =
      this.#restMs === 0 ? this.#options.firstRestMs : Math.min(this.#restMs * 2, this.#options.longestRestMs);
    this.#openUntil = this.#options.now() + this.#restMs;
    this.#isProbing = false;
    return this.#restMs;
  }

  /** The probe came back, possibly without having touched the network: the next caller may probe. */
  probeEnded(): void {
    this.#isProbing = false;
  }
}
