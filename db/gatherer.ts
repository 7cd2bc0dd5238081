import { isConnectionLoss } from './errors.ts';

export interface GathererOptions<I, O> {
  /** Items with the same key never share a batch: the second waits for the next one. */
  key(item: I): string;
  /** Writes or reads all items at once, answers in their order. Every item must be idempotent by an id it brings. */
  run(items: readonly I[]): Promise<readonly O[]>;
  /** Bytes that an item adds to the statement; batches end at 4 MB, so that a few large ones do not make one giant packet. */
  size?(item: I): number;
  /** Items per batch. */
  readonly maxBatch?: number;
  /** Singles side by side after a batch failed: as many as connections may be used for it. */
  readonly sideBySide?: number;
}

const MAX_BATCH_BYTES = 4 * 1024 * 1024;

interface Waiting<I, O> {
  readonly item: I;
  resolve(value: O): void;
  reject(error: unknown): void;
}

/**
 * Group commit. One batch is in flight; what arrives meanwhile is the next one. No timer: alone, an item leaves at once; under load batches form by
 * themselves. Each caller is answered after its batch committed. A batch that fails is split into singles, so that one bad item harms only itself.
 */
export class Gatherer<I, O> {
  readonly #options: GathererOptions<I, O>;
  #waiting: Waiting<I, O>[] = [];
  #flight: Promise<void> | undefined;
  /** Batches and items so far: their ratio is what gathering saves. */
  batches = 0;
  items = 0;

  constructor(options: GathererOptions<I, O>) {
    this.#options = options;
  }

  /** Resolves with the item's answer after the commit of its batch. */
  add(item: I): Promise<O> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#flight ??= this.#fly();
    });
  }

  /** Resolves when nothing is waiting or in flight. */
  async drain(): Promise<void> {
    while (this.#flight !== undefined) await this.#flight;
  }

  async #fly(): Promise<void> {
    // What else arrives in this turn of the event loop travels along.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#runBatch(this.#nextBatch());
    this.#flight = undefined;
  }

  #nextBatch(): Waiting<I, O>[] {
    const { key, size, maxBatch = 256 } = this.#options;
    const keys = new Set<string>();
    const batch: Waiting<I, O>[] = [];
    const rest: Waiting<I, O>[] = [];
    let bytes = 0;
    for (const waiting of this.#waiting) {
      const itemKey = key(waiting.item);
      const hasRoom = batch.length < maxBatch && bytes < MAX_BATCH_BYTES;
      if (hasRoom && !keys.has(itemKey)) {
        batch.push(waiting);
        bytes += size?.(waiting.item) ?? 0;
      } else rest.push(waiting);
      keys.add(itemKey);
    }
    this.#waiting = rest;
    return batch;
  }

  async #runBatch(batch: readonly Waiting<I, O>[]): Promise<void> {
    this.batches += 1;
    this.items += batch.length;
    try {
      const answers = await this.#options.run(batch.map(({ item }) => item));
      // The answers are of the same length by contract; O may itself include undefined.
      batch.forEach(({ resolve }, index) => void resolve(answers[index] as O));
    } catch (error) {
      if (batch.length === 1 || isConnectionLoss(error)) for (const { reject } of batch) reject(error);
      else await this.#runSingly(batch);
    }
  }

  async #runSingly(batch: readonly Waiting<I, O>[]): Promise<void> {
    const queue = [...batch];
    const lane = async (): Promise<void> => {
      for (let waiting = queue.shift(); waiting !== undefined; waiting = queue.shift()) await this.#runBatch([waiting]);
    };
    await Promise.all(Array.from({ length: this.#options.sideBySide ?? 8 }, lane));
  }
}
