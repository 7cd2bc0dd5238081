import { OUTBOX_BATCH, slices } from '../db/outbox.ts';
import { JOB_KINDS, type JobKind } from '../domain/job-kinds.ts';
import type { JobQueues } from './queues.ts';

/** Keys held while Redis is slow or away; beyond that they are dropped: their rows remain. */
const MAX_HELD = 50_000;
/** Waiting jobs of a kind beyond which no more hints are added: without workers they would fill Redis. The relay feeds the rows later, slice by slice. */
const MAX_WAITING = 1_000;
const DEPTH_KNOWN_MS = 1_000;
/** How long keys are gathered before they are published: nobody waits for a hint, and a job, its lock and its transaction cost the same for one key as for 256. */
const GATHER_MS = 20;
/** Jobs per addBulk: more make one pipeline slow (stack-2026 §1.11). */
const JOBS_PER_CALL = 1_000;

interface Lane {
  /** Keys to publish together, and keys that need a job of their own. */
  held: Set<string>;
  alone: Set<string>;
  flight: Promise<void> | undefined;
  /** Waiting jobs when last asked, and when that was. */
  depth: { waiting: number; askedAt: number };
}

/**
 * Turns keys into jobs: "there may be rows". One `addBulk` per kind is in flight, what arrives meanwhile is the next one, so keys of several commits share
 * jobs. Never awaited by a request; when Redis is away the keys are dropped and the relay publishes their rows later.
 */
export class Publisher {
  readonly #queues: JobQueues;
  readonly #lanes: Record<JobKind, Lane>;
  /** Keys that were not handed to Redis. */
  dropped = 0;

  constructor(queues: JobQueues) {
    this.#queues = queues;
    this.#lanes = Object.fromEntries(
      JOB_KINDS.map((kind) => [
        kind,
        { held: new Set(), alone: new Set(), flight: undefined, depth: { waiting: 0, askedAt: 0 } },
      ]),
    ) as unknown as Record<JobKind, Lane>;
  }

  /** Publishes soon. With `alone` each key gets a job of its own: keys in trouble, and failed ones that Bull Board is to show. */
  hint(kind: JobKind, keys: readonly string[], { alone = false } = {}): void {
    const lane = this.#lanes[kind];
    const target = alone ? lane.alone : lane.held;
    for (const key of keys) {
      if (lane.held.size + lane.alone.size < MAX_HELD) target.add(key);
      else this.dropped += 1;
    }
    lane.flight ??= this.#fly(kind, lane);
  }

  /** Resolves when everything hinted so far was handed to Redis or dropped, or after the limit. */
  async drain(limitMs = 10_000): Promise<void> {
    const limit = AbortSignal.timeout(limitMs);
    const flights = Promise.all(Object.values(this.#lanes).map((lane) => lane.flight));
    await Promise.race([flights, new Promise((resolve) => limit.addEventListener('abort', resolve))]);
  }

  async #fly(kind: JobKind, lane: Lane): Promise<void> {
    while (lane.held.size + lane.alone.size > 0) {
      await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
      const [together, alone] = [[...lane.held], [...lane.alone]];
      lane.held = new Set();
      lane.alone = new Set();
      if (await this.#isFull(kind, lane)) this.dropped += together.length;
      else await this.publish(kind, together);
      await this.publish(kind, alone, { alone: true });
    }
    lane.flight = undefined;
  }

  /** Hands keys to Redis now, however many jobs wait there: for the relay, which looks at the queue itself. */
  async publish(kind: JobKind, keys: readonly string[], { alone = false } = {}): Promise<void> {
    const batches = [...slices(keys, alone ? 1 : OUTBOX_BATCH)];
    for (const some of slices(batches, JOBS_PER_CALL)) await this.#add(kind, some);
  }

  async #isFull(kind: JobKind, { depth }: Lane): Promise<boolean> {
    if (Date.now() - depth.askedAt > DEPTH_KNOWN_MS) {
      depth.waiting = await this.#queues[kind].getWaitingCount().catch(() => 0);
      depth.askedAt = Date.now();
    }
    return depth.waiting > MAX_WAITING;
  }

  async #add(kind: JobKind, batches: readonly string[][]): Promise<void> {
    try {
      await this.#queues[kind].addBulk(batches.map((keys) => ({ name: kind, data: { v: 1, keys } })));
    } catch {
      this.dropped += batches.reduce((sum, keys) => sum + keys.length, 0);
    }
  }
}
