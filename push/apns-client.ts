import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from './apns-connection.ts';
import { type CertificateFor, cacheCertificates, type PushCertificate } from './cached-certificates.ts';
import type { CircuitOptions } from './circuit.ts';
import { type Push, type PushResult, refuseAll, TopicSender } from './topic-sender.ts';

export type { PushCertificate } from './cached-certificates.ts';
export type { PushOutcome } from './classify-response.ts';
export type { Push, PushResult } from './topic-sender.ts';

export interface ApnsClientOptions {
  /** The stored certificate of a topic, `undefined` when there is none. A rejection means: could not be read now. */
  readonly certificateFor: CertificateFor;
  /** For certificates without a `url` of their own; https://api.push.apple.com. */
  readonly defaultUrl?: string;
  /** How long an answer of `certificateFor` is kept; 3,000. */
  readonly certificateTtlMs?: number;
  /** How long a certificate that Apple refused (403) is not tried again; 60,000. A replaced one is tried at once. */
  readonly certificateHoldMs?: number;
  /** Limits and time-outs of each topic's connection. */
  readonly connection?: Omit<
    ConnectionOptions,
    'certificatePem' | 'privateKeyPem' | 'url' | 'caPem' | 'onIncident' | 'onAnswer'
  >;
  readonly circuit?: CircuitOptions;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

interface Sender {
  readonly key: string;
  readonly sender: TopicSender;
}

/**
 * Sends MDM pushes to APNs: one long-lived HTTP/2 connection per topic, hundreds of streams at a time on each.
 * It keeps nothing but connections; what is owed, and when to try again, is the caller's (it knows from the results).
 */
export class ApnsClient {
  readonly #options: ApnsClientOptions;
  readonly #now: () => number;
  readonly #certificateFor: CertificateFor;
  readonly #senders = new Map<string, Sender>();
  readonly #draining = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: ApnsClientOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#certificateFor = cacheCertificates(options.certificateFor, options.certificateTtlMs ?? 3000, this.#now);
  }

  /**
   * Sends all pushes, topics side by side, and resolves when each has a result: one per push, in the same order, found
   * by `id`. Never rejects: what goes wrong is in the results. Memory is bounded by what the caller hands over.
   */
  async send(pushes: readonly Push[]): Promise<PushResult[]> {
    const places = new Map<string, number[]>();
    for (const [place, { topic }] of pushes.entries()) {
      const sameTopic = places.get(topic);
      if (sameTopic === undefined) {
        places.set(topic, [place]);
      } else {
        sameTopic.push(place);
      }
    }
    const results: PushResult[] = new Array(pushes.length);
    await Promise.all(
      [...places].map(async ([topic, sameTopic]) => {
        const group = sameTopic.flatMap((place) => pushes[place] ?? []);
        const groupResults = await this.#sendTopic(topic, group);
        for (const [index, result] of groupResults.entries()) {
          results[sameTopic[index] ?? 0] = result;
        }
      }),
    );
    return results;
  }

  /**
   * Lets the pushes under way finish, closes all connections; later ones get `retry`.
   * @param limitMs resolves then at the latest, for a process that ends; without it the pushes' own time-out is the limit
   */
  async close(limitMs?: number): Promise<void> {
    this.#isClosed = true;
    for (const topic of [...this.#senders.keys()]) {
      this.#drop(topic);
    }
    const drained = Promise.all(this.#draining);
    if (limitMs === undefined) {
      await drained;
      return;
    }
    const over = new AbortController();
    await Promise.race([drained, sleep(limitMs, undefined, { signal: over.signal })]);
    over.abort();
  }

  async #sendTopic(topic: string, pushes: readonly Push[]): Promise<PushResult[]> {
    let certificate: PushCertificate | undefined;
    try {
      certificate = await this.#certificateFor(topic);
    } catch (thrown) {
      const cause = thrown instanceof Error ? thrown.message : String(thrown);
      return refuseAll(pushes, { outcome: 'retry', error: `retrieving push cert for topic "${topic}": ${cause}` });
    }
    if (this.#isClosed) {
      return refuseAll(pushes, { outcome: 'retry', error: 'the push client is closed' });
    }
    if (certificate === undefined) {
      this.#drop(topic);
      // NanoMDM's words, to the letter: its users' scripts look for them (nanomdm §5.4).
      const error = `retrieving push cert for topic "${topic}": sql: no rows in result set`;
      return refuseAll(pushes, { outcome: 'certificate', error });
    }
    try {
      return await this.#senderFor(topic, certificate).send(pushes);
    } catch (thrown) {
      const cause = thrown instanceof Error ? thrown.message : String(thrown);
      return refuseAll(pushes, { outcome: 'certificate', error: `creating new push provider: ${cause}` });
    }
  }

  #senderFor(topic: string, certificate: PushCertificate): TopicSender {
    const key = JSON.stringify([certificate.version, certificate.url, certificate.caPem]);
    const known = this.#senders.get(topic);
    if (known?.key === key) {
      return known.sender;
    }
    const { defaultUrl, connection, circuit, certificateHoldMs } = this.#options;
    const sender = new TopicSender(certificate, {
      connection: { now: this.#now, ...connection, ...(defaultUrl === undefined ? {} : { url: defaultUrl }) },
      circuit: { now: this.#now, ...circuit },
      certificateHoldMs: certificateHoldMs ?? 60_000,
      now: this.#now,
    });
    // The new one is there before the old one goes: what is under way finishes on the old connection.
    this.#drop(topic);
    this.#senders.set(topic, { key, sender });
    return sender;
  }

  #drop(topic: string): void {
    const known = this.#senders.get(topic);
    if (known === undefined) {
      return;
    }
    this.#senders.delete(topic);
    const drained = known.sender.drain().finally(() => this.#draining.delete(drained));
    this.#draining.add(drained);
  }
}
