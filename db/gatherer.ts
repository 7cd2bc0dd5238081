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
 * themselves. Each caller is answered after its batch committed. A batch that fails is split into singles beside the flight, so that one bad item harms only itself,
 * and one that is stuck holds up nobody but those with its key.
 */
export class Gatherer<I, O> {
  readonly #options: GathererOptions<I, O>;
  #waiting: Waiting<I, O>[] = [];
  #flight: Promise<void> | undefined;
  /** Items of batches that failed, and the lanes that run them one by one. */
  readonly #singles: Waiting<I, O>[] = [];
  readonly #lanes = new Set<Promise<void>>();
  /** Keys of singles that are not answered yet: no batch takes an item of theirs. */
  readonly #busy = new Set<string>();
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
      this.#wake();
    });
  }

  /** Resolves when nothing is waiting or in flight. */
  async drain(): Promise<void> {
    while (this.#flight !== undefined || this.#lanes.size > 0) await Promise.all([this.#flight, ...this.#lanes]);
  }

  #wake(): void {
    if (this.#waiting.length > 0) this.#flight ??= this.#fly();
  }

  async #fly(): Promise<void> {
    // What else arrives in this turn of the event loop travels along.
    await Promise.resolve();
    for (let batch = this.#nextBatch(); batch.length > 0; batch = this.#nextBatch()) await this.#runBatch(batch);
    this.#flight = undefined;
  }

  #nextBatch(): Waiting<I, O>[] {
    const { key, size, maxBatch = 256 } = this.#options;
    const keys = new Set(this.#busy);
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
      else this.#split(batch);
    }
  }

  #split(batch: readonly Waiting<I, O>[]): void {
    for (const waiting of batch) this.#busy.add(this.#options.key(waiting.item));
    this.#singles.push(...batch);
    while (this.#singles.length > 0 && this.#lanes.size < (this.#options.sideBySide ?? 8)) {
      const lane = this.#runSingles().finally(() => this.#lanes.delete(lane));
      this.#lanes.add(lane);
    }
  }

  async #runSingles(): Promise<void> {
    for (let single = this.#singles.shift(); single !== undefined; single = this.#singles.shift()) {
      await this.#runBatch([single]);
      this.#busy.delete(this.#options.key(single.item));
      this.#wake();
    }
  }
}
