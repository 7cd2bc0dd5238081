import type { Db } from '../../db/db.ts';
import { Gatherer } from '../../db/gatherer.ts';
import type { TakenRow } from '../../db/outbox.ts';
import { API_PRIORITY, type Enqueueing, insertCommands, readEnrolledIds } from '../../db/queries/enqueue-command.ts';
import { type Transaction, transaction } from '../../db/transaction.ts';
import type { Command } from '../../mdm/command.ts';
import { PUSHED_HERE_MS } from './push-now.ts';

/** One call of an admin: a command for all of these enrollments or for none. */
export interface QueueCall {
  readonly command: Command;
  readonly body: Buffer;
  /** Folded enrollment ids, each once. */
  readonly keys: readonly string[];
  readonly context: string | undefined;
  readonly noPush: boolean;
}

export interface Queued {
  readonly owed: readonly TakenRow[];
  /** Internal ids by folded enrollment id. */
  readonly idOf: ReadonlyMap<string, number>;
}

export interface NotQueued {
  readonly unknownKeys: readonly string[];
}

/** Calls for more enrollments than this are written by themselves: they gain nothing by company, and would hold up the small ones. */
const MOST_GATHERED_KEYS = 32;

/** Queues the commands of concurrent calls in common transactions (DESIGN §5). */
export class CommandQueueing {
  readonly #db: Db;
  readonly #small: Gatherer<QueueCall, Queued | NotQueued>;

  constructor(db: Db) {
    this.#db = db;
    this.#small = new Gatherer({
      // The second of two calls with one CommandUUID is to be refused, not the first with it.
      key: ({ command }) => command.commandUuid,
      size: ({ body }) => body.length,
      run: (calls) => queueAll(db, calls),
    });
  }

  /** Resolves after the commit. Nothing was queued for anybody when an enrollment is unknown. @throws 1062 when the CommandUUID exists (isDuplicate) */
  async queue(call: QueueCall): Promise<Queued | NotQueued> {
    if (call.keys.length <= MOST_GATHERED_KEYS) return this.#small.add(call);
    const [answer] = await queueAll(this.#db, [call]);
    return answer ?? { unknownKeys: call.keys };
  }
}

const queueAll = (db: Db, calls: readonly QueueCall[]): Promise<(Queued | NotQueued)[]> =>
  transaction(db, async (t) => {
    const idOf = await readEnrolledIds(t, [...new Set(calls.flatMap(({ keys }) => keys))]);
    const unknownKeys = calls.map(({ keys }) => keys.filter((key) => !idOf.has(key)));
    const accepted = calls.filter((_, index) => unknownKeys[index]?.length === 0);
    const enqueueings = accepted.map(
      ({ command, body, keys, context }): Enqueueing => ({
        command: { ...command, priority: API_PRIORITY, origin: 'api', originId: context, body },
        enrollmentIds: keys.flatMap((key) => idOf.get(key) ?? []),
      }),
    );
    t.leave(insertCommands(t, db.secrets, enqueueings));
    return calls.map((call, index): Queued | NotQueued => {
      const unknown = unknownKeys[index] ?? [];
      return unknown.length > 0
        ? { unknownKeys: unknown }
        : { idOf, owed: call.noPush ? [] : owePushes(t, call.keys, idOf) };
    });
  });

/** Owes the pushes that this process is about to make itself. */
export const owePushes = (t: Transaction, keys: readonly string[], idOf: ReadonlyMap<string, number>): TakenRow[] =>
  t.owe('push.send', keys.flatMap((key) => idOf.get(key) ?? []).map(String), { inMs: PUSHED_HERE_MS });
