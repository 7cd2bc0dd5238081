import { inspect } from 'node:util';

const REDACTED = '[redacted]';

/** A value that never shows itself: in a log, in JSON, in a template it prints as [redacted]. */
export class Secret<T = string> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The value, for the one place that needs it. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}
