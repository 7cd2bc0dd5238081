/** Counts what is under way in a fleet: polls, enrollments, unsent results. */
export class Activity {
  #count = 0;
  #waiting: (() => void)[] = [];

  get isIdle(): boolean {
    return this.#count === 0;
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#count++;
    try {
      return await work();
    } finally {
      this.#count--;
      if (this.#count === 0) {
        for (const wake of this.#waiting.splice(0)) wake();
      }
    }
  }

  /** Resolves when nothing is under way, at once if that is now. */
  async idle(): Promise<void> {
    while (this.#count > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
