import { setTimeout as sleep } from 'node:timers/promises';
import type { Reply } from './mdm-client.ts';

export interface Delivery {
  /** Sends the message once. Rejects when the connection fails. */
  readonly send: () => Promise<Reply>;
  /** Told after each sending: the HTTP status, or null when the connection failed. */
  readonly onAnswered: (httpStatus: number | null) => void;
  /** Resolves when the device has network. */
  readonly untilPresent: () => Promise<void>;
  readonly backOffMs: readonly number[];
  /** How often to try; without it until the server has taken the message or the signal aborts. */
  readonly attempts?: number;
  readonly signal: AbortSignal;
}

/**
 * Sends a message until the server has answered it with something other than "try later": a device keeps its result
 * through 5xx and broken connections (apple-protocols §1.1). Returns undefined when the attempts are used up; rejects
 * with the signal's reason when it aborts.
 */
export async function deliverMessage(delivery: Delivery): Promise<Reply | undefined> {
  const { backOffMs, attempts = Number.POSITIVE_INFINITY, signal } = delivery;
  for (let attempt = 1; ; attempt++) {
    await delivery.untilPresent();
    const reply = await delivery.send().catch(() => undefined);
    delivery.onAnswered(reply?.status ?? null);
    if (reply !== undefined && !isTryLater(reply.status)) return reply;
    if (attempt >= attempts) return reply;
    const waitMs = reply?.retryAfterMs ?? backOffMs[Math.min(attempt, backOffMs.length) - 1] ?? 0;
    await sleep(waitMs, undefined, { signal });
  }
}

function isTryLater(status: number): boolean {
  return status >= 500 || status === 429;
}
