import { waitFor } from './wait-for.ts';

/** Whether a device can be reached: it may be without network, or switched off. */
export class Availability {
  #returns: PromiseWithResolvers<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #onReturn: () => void;

  /** `onReturn` runs at each coming back, after those who waited for it went on. */
  constructor(onReturn: () => void) {
    this.#onReturn = onReturn;
  }

  get isAway(): boolean {
    return this.#returns !== undefined;
  }

  /** Away until `comeBack`, or for the given time. */
  goAway(forMs?: number): void {
    this.#returns ??= Promise.withResolvers<void>();
    clearTimeout(this.#timer);
    if (forMs !== undefined) this.#timer = setTimeout(() => this.comeBack(), forMs);
  }

  comeBack(): void {
    clearTimeout(this.#timer);
    const returns = this.#returns;
    if (returns === undefined) return;
    this.#returns = undefined;
    returns.resolve();
    this.#onReturn();
  }

  /** Resolves once the device is there; rejects when the signal aborts. */
  async untilPresent(signal: AbortSignal): Promise<void> {
    while (this.#returns !== undefined) await waitFor(this.#returns.promise, signal);
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
