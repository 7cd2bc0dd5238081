import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Log } from '../config/log.ts';
import type { Db } from '../db/db.ts';
import { lease, look, OUTBOX_BATCH, pageDue } from '../db/outbox.ts';
import { holdLease, releaseLease } from '../db/queries/leases.ts';
import { JOB_KINDS, type JobKind } from '../domain/job-kinds.ts';
import type { Publisher } from './publish.ts';

const LEASE_NAME = 'relay';
const LEASE_MS = 5_000;
/** Rows looked at per kind and round, and per page of a rebuild. */
const PAGE = 4_096;
/** A queue that has more jobs waiting gets one slice a round: most of what is overdue there is waiting, not lost, but what only the relay can feed must not starve. */
const DEEP = 16;

export interface RelayOptions {
  readonly db: Db;
  readonly redis: Redis;
  readonly prefix: string;
  readonly publisher: Publisher;
  readonly log: Log;
  readonly everyMs?: number;
}

/**
 * Republishes rows whose job is missing. Every worker process has one, one of them leads; two leaders would only waste hints. Each round it publishes what
 * `look_at` says; when the epoch key is gone Redis was wiped, and everything due is published at once.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #holder = randomUUID();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<unknown> | undefined;
  #isStopped = false;
  /** When the last round of a leader ended, for the alarm on a relay that stopped. */
  lastRoundAt: Date | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  start(): void {
    this.#schedule(0);
  }

  /** Ends after the round under way and hands the lead on. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#round;
    await releaseLease(this.#options.db, LEASE_NAME, this.#holder).catch(() => {});
  }

  #schedule(inMs: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#round = this.round()
        .catch((error: unknown) => this.#options.log.warn('relay.failed', { error }))
        .finally(() => this.#schedule(this.#options.everyMs ?? 1_000));
    }, inMs);
  }

  /** One round, if this process leads. @returns how many keys were published */
  async round(): Promise<number> {
    if (!(await holdLease(this.#options.db, LEASE_NAME, this.#holder, LEASE_MS))) return 0;
    const published = (await this.#isWiped()) ? await this.#rebuild() : await this.#publishOverdue();
    this.lastRoundAt = new Date();
    return published;
  }

  get #epochKey(): string {
    return `${this.#options.prefix}:epoch`;
  }

  /** Missing: wiped. `rebuilding`: somebody was killed in the middle, or wiped again; only `ready` is ready. */
  async #isWiped(): Promise<boolean> {
    const { redis } = this.#options;
    if ((await redis.set(this.#epochKey, 'rebuilding', 'NX')) !== null) return true;
    return (await redis.get(this.#epochKey)) !== 'ready';
  }

  async #rebuild(): Promise<number> {
    const { db, redis, publisher, log } = this.#options;
    let count = 0;
    for (const kind of JOB_KINDS) {
      for (
        let after = '', page = await pageDue(db, kind, after, PAGE);
        page.length > 0;
        page = await pageDue(db, kind, after, PAGE)
      ) {
        await this.#publish(
          kind,
          page.filter((row) => row.failed === 0),
        );
        const failed = page.filter((row) => row.failed === 1).map((row) => row.key);
        await publisher.publish(kind, failed, { alone: true });
        // The epoch says rebuilding still: the next leader begins anew.
        if (this.#isStopped) return count;
        count += page.length;
        after = page.at(-1)?.key ?? after;
        await holdLease(db, LEASE_NAME, this.#holder, LEASE_MS);
      }
    }
    // XX: a second wipe meanwhile has taken the key away, and the next round begins anew.
    await redis.set(this.#epochKey, 'ready', 'XX');
    log.info('relay.rebuilt', { keys: count });
    return count;
  }

  async #publishOverdue(): Promise<number> {
    const { db, redis, prefix, log } = this.#options;
    let count = 0;
    for (const kind of JOB_KINDS) {
      try {
        const isDeep = (await redis.llen(`${prefix}:${kind}:wait`)) > DEEP;
        const rows = await look(db, kind, isDeep ? OUTBOX_BATCH : PAGE);
        await this.#publish(kind, rows);
        count += rows.length;
      } catch (error) {
        // A row that somebody holds for long stops its own kind only.
        log.warn('relay.failed', { kind, error });
      }
    }
    return count;
  }

  /** Leases first: a crash between the two costs one lease, never a flood. A key with failed attempts travels alone. */
  async #publish(kind: JobKind, rows: readonly { key: string; attempts: number }[]): Promise<void> {
    if (rows.length === 0) return;
    const { db, publisher } = this.#options;
    await lease(
      db,
      kind,
      rows.map((row) => row.key),
    );
    const keysOf = (isTroubled: boolean): string[] =>
      rows.filter((row) => row.attempts > 0 === isTroubled).map((row) => row.key);
    await publisher.publish(kind, keysOf(false));
    await publisher.publish(kind, keysOf(true), { alone: true });
  }
}
