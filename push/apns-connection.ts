import type tls from 'node:tls';
import { ApnsSession, type Exchange, type SessionOwner } from './apns-session.ts';
import { buildBody, buildHeaders, faultOfPush, type PushRequest } from './build-push.ts';
import { type ApnsAnswer, classifyResponse } from './classify-response.ts';
import { createSecureContext } from './connect-tls.ts';
import { Fifo } from './fifo.ts';

export interface ConnectionOptions {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** https://api.push.apple.com */
  readonly url?: string;
  /** Trusted besides the usual authorities. */
  readonly caPem?: string;
  /** Streams open at a time, whatever the peer would allow; 1000. */
  readonly maxInFlight?: number;
  /** 15,000 */
  readonly requestTimeoutMs?: number;
  /** 10,000 */
  readonly connectTimeoutMs?: number;
  /** 3,600,000 */
  readonly pingAfterIdleMs?: number;
  /** 10,000 */
  readonly pingTimeoutMs?: number;
  /** First wait before another attempt after a second trouble in a row, 100; it doubles, up to 2,000. */
  readonly firstReconnectMs?: number;
  readonly longestReconnectMs?: number;
  /** How long Apple keeps the push for a sleeping device: 604,800 (7 days). */
  readonly expirationSeconds?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** 0 to 1, for jitter. */
  readonly random?: () => number;
  /** Told of each incident at the transport (a thousand pushes lost in one go are one) and of each answer. */
  readonly onIncident?: () => void;
  readonly onAnswer?: () => void;
}

const DEFAULTS = {
  url: 'https://api.push.apple.com',
  maxInFlight: 1000,
  requestTimeoutMs: 15_000,
  connectTimeoutMs: 10_000,
  pingAfterIdleMs: 3_600_000,
  pingTimeoutMs: 10_000,
  firstReconnectMs: 100,
  longestReconnectMs: 2000,
  expirationSeconds: 7 * 86_400,
  now: Date.now,
  random: Math.random,
};

/**
 * The connection to APNs of one push certificate: connects when first needed, keeps the session, replaces it after a
 * GOAWAY or a loss, and queues what does not fit. The queue has no bound of its own: the caller's batches bound it.
 * Nothing here throws or rejects once constructed; the constructor throws TypeError for a `url` that is none.
 * Protocol: apple-protocols §2.2 and §2.4.
 */
export class ApnsConnection {
  readonly #options: ConnectionOptions & typeof DEFAULTS;
  readonly #url: URL;
  readonly #waiting = new Fifo<Exchange>();
  /** Given back by a session unprocessed; these go before the others. */
  readonly #again = new Fifo<Exchange>();
  readonly #sessions = new Set<ApnsSession>();
  #current: ApnsSession | undefined;
  #secureContext: tls.SecureContext | undefined;
  #reconnectTimer: NodeJS.Timeout | undefined;
  #starvedTimer: NodeJS.Timeout | undefined;
  /** Sessions lost or refused since the last good answer. */
  #troubles = 0;
  #open = 0;
  #order = 0;
  #blamedUpTo = 0;
  #isDraining = false;
  #drained: (() => void)[] = [];

  constructor(options: ConnectionOptions) {
    this.#options = { ...DEFAULTS, ...options };
    this.#url = new URL(this.#options.url);
  }

  /** Pushes under way or waiting. */
  get load(): number {
    return this.#open + this.#waiting.size + this.#again.size;
  }

  /** Sends one push and gives what came of it. Never rejects. */
  push(request: PushRequest): Promise<ApnsAnswer> {
    return new Promise((resolve) => {
      if (this.#isDraining) {
        resolve({ kind: 'failure', code: 'ECANCELED', message: 'the push connection is closed' });
        return;
      }
      const fault = faultOfPush(request);
      if (fault !== undefined) {
        resolve({ kind: 'unusable', what: 'request', message: fault });
        return;
      }
      this.#waiting.add({
        headers: buildHeaders(request, this.#options.now(), this.#options.expirationSeconds),
        body: buildBody(request.pushMagic),
        order: 0,
        isResent: false,
        settle: resolve,
      });
      this.#pump();
    });
  }

  /** Gives `answer` to every push that has not gone onto a stream yet. */
  refuseWaiting(answer: ApnsAnswer): void {
    for (const exchange of [...this.#again.takeAll(), ...this.#waiting.takeAll()]) {
      exchange.settle(answer);
    }
    this.#finishDraining();
  }

  /** Takes no more pushes, answers those it has, then closes its sessions. Resolves when they are closed. */
  drain(): Promise<void> {
    this.#isDraining = true;
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#finishDraining();
    });
  }

  #pump(): void {
    while (this.#waiting.size + this.#again.size > 0) {
      const session = this.#current;
      if (session === undefined) {
        this.#connectSoon();
        return;
      }
      if (session.room <= 0 || this.#open >= this.#options.maxInFlight) {
        this.#watchStarved(session);
        return;
      }
      const exchange = this.#again.take() ?? this.#waiting.take();
      if (exchange !== undefined) {
        this.#start(session, exchange);
      }
    }
  }

  #start(session: ApnsSession, exchange: Exchange): void {
    this.#order += 1;
    exchange.order = this.#order;
    if (session.start(exchange)) {
      this.#open += 1;
    }
  }

  #connectSoon(): void {
    if (this.#reconnectTimer !== undefined) {
      return;
    }
    // The first replacement comes at once: a GOAWAY on a healthy session is routine. Further ones rest.
    if (this.#troubles < 2) {
      this.#connect();
      return;
    }
    const { firstReconnectMs, longestReconnectMs, random } = this.#options;
    const full = Math.min(firstReconnectMs * 2 ** Math.min(this.#troubles - 2, 20), longestReconnectMs);
    this.#reconnectTimer = setTimeout(
      () => {
        this.#reconnectTimer = undefined;
        this.#connect();
      },
      full * (0.5 + random() / 2),
    );
  }

  #connect(): void {
    if (this.#current !== undefined || this.#waiting.size + this.#again.size === 0) {
      return;
    }
    try {
      this.#secureContext ??= createSecureContext(this.#options);
    } catch (thrown) {
      const message = `creating new push provider: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
      this.refuseWaiting({ kind: 'unusable', what: 'certificate', message });
      return;
    }
    const session = new ApnsSession(
      { ...this.#options, url: this.#url, secureContext: this.#secureContext },
      this.#owner,
    );
    this.#current = session;
    this.#sessions.add(session);
  }

  readonly #owner: SessionOwner = {
    hasRoom: () => this.#pump(),
    freed: () => {
      this.#open -= 1;
      this.#pump();
      this.#finishDraining();
    },
    answered: (exchange, answer, session) => {
      this.#options.onAnswer?.();
      // These ask for another connection, possibly to another address (apple-protocols §2.3).
      if (isReconnectAsked(answer)) {
        session.leave();
      } else {
        this.#troubles = 0;
      }
      exchange.settle(answer);
    },
    broken: (exchange, answer, isUnprocessed) => {
      const isHopeless = classifyResponse(answer).outcome === 'certificate';
      if (isUnprocessed && !exchange.isResent && !isHopeless) {
        exchange.isResent = true;
        this.#again.add(exchange);
        return;
      }
      this.#blame(exchange.order);
      exchange.settle(answer);
    },
    leaving: (session) => {
      if (this.#current === session) {
        this.#current = undefined;
        this.#troubles += 1;
      }
      this.#pump();
    },
    ended: (session, isNeverReady, failure) => {
      this.#sessions.delete(session);
      if (this.#current === session) {
        this.#current = undefined;
        this.#troubles += 1;
      }
      if (isNeverReady) {
        // These first: the incident may open the circuit, whose text is for pushes that were not tried.
        this.refuseWaiting(failure);
        this.#order += 1;
        this.#blame(this.#order);
      }
      this.#pump();
      this.#finishDraining();
    },
  };

  /** Counts an incident, unless the push went out before the last one that was counted. */
  #blame(order: number): void {
    if (order > this.#blamedUpTo) {
      this.#blamedUpTo = this.#order;
      this.#options.onIncident?.();
    }
  }

  /** A peer that allows no stream at all and does not change its mind gets its session ended, like a silent one. */
  #watchStarved(session: ApnsSession): void {
    if (this.#starvedTimer !== undefined || !session.isStarved) {
      return;
    }
    this.#starvedTimer = setTimeout(() => {
      this.#starvedTimer = undefined;
      if (this.#current === session && session.isStarved) {
        const message = `Post "${this.#url.origin}": no stream allowed within ${this.#options.requestTimeoutMs} ms`;
        this.refuseWaiting({ kind: 'failure', code: 'ETIMEDOUT', message });
        this.#order += 1;
        this.#blame(this.#order);
        session.leave();
      }
    }, this.#options.requestTimeoutMs);
  }

  #finishDraining(): void {
    if (!this.#isDraining || this.load > 0) {
      return;
    }
    clearTimeout(this.#reconnectTimer);
    clearTimeout(this.#starvedTimer);
    for (const session of this.#sessions) {
      session.leave();
    }
    if (this.#sessions.size === 0) {
      for (const resolve of this.#drained.splice(0)) {
        resolve();
      }
    }
  }
}

function isReconnectAsked(answer: ApnsAnswer): boolean {
  return (
    answer.kind === 'response' && (answer.status === 503 || answer.status === 421 || answer.reason === 'IdleTimeout')
  );
}
