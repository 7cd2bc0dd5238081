import type { Log } from '../../config/log.ts';
import type { Executor } from '../../db/connection.ts';
import { upsertLastSeen } from '../../db/queries/last-seen.ts';

export interface LastSeenOptions {
  readonly db: Executor;
  readonly log: Log;
  /** Channels at which a flush begins, and the longest wait for one. */
  readonly maxHeld?: number;
  readonly everyMs?: number;
}

/** Coalesces "heard just now" in memory and writes it by size and time (nanomdm §9.1): the one thing that a killed server may lose seconds of. */
export class LastSeen {
  readonly #db: Executor;
  readonly #log: Log;
  readonly #maxHeld: number;
  readonly #everyMs: number;
  #held = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  #flight: Promise<void> = Promise.resolve();

  constructor({ db, log, maxHeld = 1_000, everyMs = 2_000 }: LastSeenOptions) {
    this.#db = db;
    this.#log = log;
    this.#maxHeld = maxHeld;
    this.#everyMs = everyMs;
  }

  add(enrollmentId: number): void {
    this.#held.add(enrollmentId);
    if (this.#held.size >= this.#maxHeld) void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), this.#everyMs);
  }

  /** Writes what is held. Never rejects: a flush that fails is logged, the next message of each channel makes up for it. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const held = this.#held;
    if (held.size === 0) return this.#flight;
    this.#held = new Set();
    this.#flight = this.#flight
      .then(() => upsertLastSeen(this.#db, held))
      .catch((error: unknown) => this.#log.warn('last-seen.lost', { count: held.size, error }));
    return this.#flight;
  }
}
