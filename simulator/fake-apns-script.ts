import type { ApnsError, ReceivedPush } from './fake-apns-request.ts';

export interface Registration {
  readonly topic: string;
  readonly pushMagic: string;
  /** Called for each push that reaches the device: with its own magic, as a device ignores any other silently. */
  readonly onPush?: (push: ReceivedPush) => void;
}

/** What the fake has been told to answer, and the devices that it knows. */
export class ApnsScript {
  readonly #devices = new Map<string, Registration>();
  readonly #dead = new Map<string, number>();
  readonly #answers = new Map<string, ApnsError>();
  readonly #next: ApnsError[] = [];
  readonly #silent = new Set<string>();

  register(tokenHex: string, registration: Registration): void {
    this.#devices.set(tokenHex, registration);
    this.#dead.delete(tokenHex);
  }

  unregister(tokenHex: string, timestamp: number): void {
    this.#devices.delete(tokenHex);
    this.#dead.set(tokenHex, timestamp);
  }

  answerNext(count: number, answer: ApnsError): void {
    for (let index = 0; index < count; index += 1) {
      this.#next.push(answer);
    }
  }

  answerFor(tokenHex: string, answer: ApnsError | undefined): void {
    if (answer === undefined) {
      this.#answers.delete(tokenHex);
    } else {
      this.#answers.set(tokenHex, answer);
    }
  }

  silence(tokenHex: string): void {
    this.#silent.add(tokenHex);
  }

  speak(): void {
    this.#silent.clear();
  }

  isSilent(tokenHex: string): boolean {
    return this.#silent.has(tokenHex) || this.#silent.has('all');
  }

  /** The answer to a push that is well-formed; undefined is 200. Scripted answers go before the devices known. */
  answer(push: ReceivedPush): ApnsError | undefined {
    const scripted = this.#next.shift() ?? this.#answers.get(push.tokenHex);
    if (scripted !== undefined) {
      return scripted.status === 200 ? undefined : scripted;
    }
    const deadSince = this.#dead.get(push.tokenHex);
    if (deadSince !== undefined) {
      return { status: 410, reason: 'Unregistered', timestamp: deadSince };
    }
    const device = this.#devices.get(push.tokenHex);
    if (device === undefined) {
      // Until a first device is registered any token will do.
      return this.#devices.size === 0 ? undefined : { status: 400, reason: 'BadDeviceToken' };
    }
    return device.topic === push.topic ? undefined : { status: 400, reason: 'DeviceTokenNotForTopic' };
  }

  /** Hands an accepted push to its device. True when the device took notice. */
  deliver(push: ReceivedPush): boolean {
    const device = this.#devices.get(push.tokenHex);
    if (device?.pushMagic !== push.pushMagic) {
      return false;
    }
    device.onPush?.(push);
    return true;
  }
}
