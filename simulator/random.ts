import { createHash, randomInt } from 'node:crypto';

/**
 * A stream of pseudo-random draws that is the same for the same seed on every machine.
 * `fork(name)` gives an independent stream that depends on the seed and the name only, never on how much was drawn
 * before: so one device's draws do not move when another device draws more.
 */
export interface Random {
  /** What this stream was made from, e.g. `42/device/7`. */
  readonly name: string;
  /** A real in [0, 1). */
  next(): number;
  /** An integer in [min, max], both included. */
  int(min: number, max: number): number;
  /** True with the given probability (0 never, 1 always). */
  chance(probability: number): boolean;
  pick<T>(choices: readonly [T, ...T[]]): T;
  bytes(length: number): Buffer;
  /** A version 4 UUID in upper case, as Apple's devices write them. */
  uuid(): string;
  fork(name: string): Random;
}

/**
 * sfc32 over a state of 128 bits. A state of 32 bits (mulberry32) is too small to fork from: among 100,000 devices two
 * would be expected to share a state, and then a serial number and a UDID.
 */
class SmallFastCounter implements Random {
  readonly name: string;
  readonly #state: Uint32Array;

  constructor(name: string) {
    this.name = name;
    const digest = createHash('sha256').update(name).digest();
    this.#state = Uint32Array.of(digest.readUInt32LE(0), digest.readUInt32LE(4), digest.readUInt32LE(8), 1);
    for (let round = 0; round < 12; round++) this.#word();
  }

  #word(): number {
    const [a = 0, b = 0, c = 0, counter = 0] = this.#state;
    const word = (a + b + counter) >>> 0;
    this.#state[3] = counter + 1;
    this.#state[0] = b ^ (b >>> 9);
    this.#state[1] = c + (c << 3);
    this.#state[2] = ((c << 21) | (c >>> 11)) + word;
    return word;
  }

  next(): number {
    return this.#word() / 2 ** 32;
  }

  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  chance(probability: number): boolean {
    // Drawn even when the answer is certain, so that changing a probability does not shift the draws after it.
    return this.next() < probability;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.int(0, choices.length - 1)] ?? choices[0];
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at++) bytes[at] = this.#word() >>> 24;
    return bytes;
  }

  uuid(): string {
    const bytes = this.bytes(16);
    bytes[6] = (bytes.readUInt8(6) & 0x0f) | 0x40;
    bytes[8] = (bytes.readUInt8(8) & 0x3f) | 0x80;
    const hex = bytes.toString('hex').toUpperCase();
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  fork(name: string): Random {
    return new SmallFastCounter(`${this.name}/${name}`);
  }
}

/** The stream of a seed. Equal seeds give equal streams, whether written as a number or as text. */
export function makeRandom(seed: number | string): Random {
  return new SmallFastCounter(String(seed));
}

/** A seed for a run that was given none. Print it: it is all that is needed to run the same again. */
export function drawSeed(): number {
  return randomInt(1, 2 ** 31);
}
