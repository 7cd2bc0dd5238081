import http2 from 'node:http2';
import type tls from 'node:tls';
import type { ApnsAnswer } from './classify-response.ts';
import { connectTls } from './connect-tls.ts';
import { LONGEST_PUSH_ERROR, readPushError } from './read-push-error.ts';

/** One push on its way: what to send and whom to tell. */
export interface Exchange {
  readonly headers: http2.OutgoingHttpHeaders;
  readonly body: string;
  /** Given when it goes onto a stream; rises. */
  order: number;
  /** True once it has been sent again on another session; it is not sent a third time. */
  isResent: boolean;
  settle(answer: ApnsAnswer): void;
}

/** Why a session ended under its streams. */
interface GoAway {
  readonly errorCode: number;
  readonly lastStreamId: number;
  readonly reason?: string;
}

export interface SessionOptions {
  readonly url: URL;
  readonly secureContext: tls.SecureContext;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly pingAfterIdleMs: number;
  readonly pingTimeoutMs: number;
}

/** What a session tells the connection that owns it. */
export interface SessionOwner {
  /** It may take more streams than before. */
  hasRoom(): void;
  /** One of its streams is over; `answered` or `broken` was called before. */
  freed(): void;
  /** Apple answered `exchange`. */
  answered(exchange: Exchange, answer: ApnsAnswer, session: ApnsSession): void;
  /** `exchange` got no answer; `isUnprocessed`: Apple surely did not act on it. */
  broken(exchange: Exchange, answer: ApnsAnswer, isUnprocessed: boolean): void;
  /** No new streams from now on; those that are open may still finish. */
  leaving(session: ApnsSession): void;
  /** Gone, with all its streams. `isNeverReady`: it did not get as far as the peer's SETTINGS. */
  ended(session: ApnsSession, isNeverReady: boolean, failure: ApnsAnswer): void;
}

/**
 * One HTTP/2 session with APNs. It counts as connected when the peer's SETTINGS have arrived: the stream limit is known
 * from then on, and a client certificate that the peer refuses has been refused before (TLS 1.3 tells late).
 */
export class ApnsSession {
  readonly #options: SessionOptions;
  readonly #owner: SessionOwner;
  readonly #socket: tls.TLSSocket;
  readonly #http2: http2.ClientHttp2Session;
  readonly #connectTimer: NodeJS.Timeout;
  #isReady = false;
  #isLeaving = false;
  #isPinging = false;
  #isEnded = false;
  /** For each open stream, what ends it when the session does. */
  readonly #streams = new Set<() => void>();
  #goAway: GoAway | undefined;
  #error: (Error & { code?: unknown }) | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  #leaveTimer: NodeJS.Timeout | undefined;
  #lastUseAt = performance.now();

  constructor(options: SessionOptions, owner: SessionOwner) {
    this.#options = options;
    this.#owner = owner;
    const socket = connectTls(options.url, options.secureContext);
    this.#socket = socket;
    this.#http2 = http2.connect(options.url.origin, {
      createConnection: () => socket,
      settings: { enablePush: false },
    });
    this.#connectTimer = setTimeout(() => {
      this.destroy(new Error(`no HTTP/2 connection within ${options.connectTimeoutMs} ms`));
    }, options.connectTimeoutMs);
    this.#listen();
  }

  /** How many more streams may be opened now. The peer may change its limit at any time, also to 0. */
  get room(): number {
    if (!this.#isReady || this.#isLeaving || this.#isPinging || this.#http2.destroyed || this.#http2.closed) {
      return 0;
    }
    return (this.#http2.remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY) - this.#streams.size;
  }

  /** Whether it is up, has no stream open and is still not allowed any. */
  get isStarved(): boolean {
    return this.#isReady && this.#streams.size === 0 && this.room <= 0;
  }

  /** Opens a stream for `exchange`. False when it could not be sent at all (and has been settled). */
  start(exchange: Exchange): boolean {
    let stream: http2.ClientHttp2Stream;
    try {
      stream = this.#http2.request(exchange.headers);
    } catch (thrown) {
      // Whatever Node finds wrong with the request itself; the session is not harmed.
      exchange.settle({ kind: 'unusable', what: 'request', message: messageOf(thrown) });
      return false;
    }
    this.#lastUseAt = performance.now();
    this.#follow(exchange, stream);
    stream.end(exchange.body);
    return true;
  }

  /** Opens no more streams, lets the open ones finish, then closes. */
  leave(): void {
    if (this.#isLeaving) {
      return;
    }
    this.#beginLeaving();
    if (this.#isReady) {
      this.#http2.close();
      this.#hangUpWhenDone();
    } else {
      this.destroy(new Error('closed before it was connected'));
    }
  }

  /** Ends everything now; what is open counts as broken by `error`. */
  destroy(error: Error): void {
    this.#error ??= error;
    this.#http2.destroy(error);
    // Node would first wait for what is still to be written, which a peer that is gone never takes.
    this.#socket.destroy();
  }

  #beginLeaving(): void {
    this.#isLeaving = true;
    const { requestTimeoutMs, pingTimeoutMs } = this.#options;
    // The last stream is over by then; only a peer that does not let us go keeps it longer.
    this.#leaveTimer = setTimeout(
      () => this.destroy(new Error('not closed in time')),
      requestTimeoutMs + pingTimeoutMs,
    );
    this.#owner.leaving(this);
  }

  /** Once its streams are over a session that leaves closes its socket: Node would wait for the peer to do so. */
  #hangUpWhenDone(): void {
    if (this.#isLeaving && this.#streams.size === 0) {
      setImmediate(() => this.#socket.destroySoon());
    }
  }

  #listen(): void {
    const session = this.#http2;
    session.on('remoteSettings', () => {
      clearTimeout(this.#connectTimer);
      if (!this.#isReady) {
        this.#isReady = true;
        this.#watchIdle(this.#options.pingAfterIdleMs);
      }
      this.#owner.hasRoom();
    });
    session.on('error', (error) => {
      this.#error ??= error;
    });
    // Emitted before Node closes the streams that the GOAWAY leaves out, and before it destroys the session when the
    // code is an error (then also the streams that Apple might have answered end here; Node gives no choice).
    session.on('goaway', (errorCode, lastStreamId, data) => {
      const { reason } = readPushError(Buffer.from(data ?? []));
      this.#goAway = { errorCode, lastStreamId, ...(reason === undefined ? {} : { reason }) };
      if (!this.#isLeaving) {
        this.#beginLeaving();
      }
      this.#hangUpWhenDone();
    });
    session.on('close', () => this.#end());
    // A TLS alert after a TLS 1.3 handshake (our certificate refused, for one) reaches only the socket: Node 24 leaves
    // the session destroyed without `error` or `close`, and the socket open.
    this.#socket.on('error', (error) => this.destroy(error));
    // Later than the streams' own ends, which may still hold an answer.
    this.#socket.on('close', () => setImmediate(() => this.#end()));
  }

  #end(): void {
    if (this.#isEnded) {
      return;
    }
    this.#isEnded = true;
    clearTimeout(this.#connectTimer);
    clearTimeout(this.#idleTimer);
    clearTimeout(this.#leaveTimer);
    this.#http2.destroy();
    for (const endStream of [...this.#streams]) {
      endStream();
    }
    this.#owner.ended(this, !this.#isReady, this.#failure(undefined));
  }

  #follow(exchange: Exchange, stream: http2.ClientHttp2Stream): void {
    let status: number | undefined;
    let head: http2.IncomingHttpHeaders = {};
    let error: Error | undefined;
    let isOver = false;
    const chunks: Buffer[] = [];
    let length = 0;

    const timer = setTimeout(() => {
      if (status === undefined) {
        isOver = true;
        const message = `Post "${this.#options.url.origin}": no answer within ${this.#options.requestTimeoutMs} ms`;
        this.#owner.broken(exchange, { kind: 'failure', code: 'ETIMEDOUT', message }, false);
        this.#verify();
      }
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }, this.#options.requestTimeoutMs);

    stream.on('response', (headers) => {
      head = headers;
      status = headers[':status'] ?? 0;
      if (status === 200) {
        stream.resume();
        return;
      }
      stream.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > LONGEST_PUSH_ERROR) {
          stream.close(http2.constants.NGHTTP2_CANCEL);
        } else {
          chunks.push(chunk);
        }
      });
    });
    stream.on('error', (reported) => {
      error = reported;
    });
    const end = (): void => {
      if (!this.#streams.delete(end)) {
        return;
      }
      clearTimeout(timer);
      this.#lastUseAt = performance.now();
      if (status === undefined && !isOver) {
        this.#breakOff(exchange, stream, error);
      } else if (status !== undefined) {
        const body = length > LONGEST_PUSH_ERROR ? Buffer.alloc(0) : Buffer.concat(chunks);
        this.#owner.answered(exchange, readAnswer(status, head, body), this);
      }
      this.#owner.freed();
      this.#hangUpWhenDone();
    };
    this.#streams.add(end);
    stream.on('close', end);
  }

  /** A stream closed without an answer. */
  #breakOff(exchange: Exchange, stream: http2.ClientHttp2Stream, error: Error | undefined): void {
    // RFC 9113 §6.8 and §8.7: above the GOAWAY's last id, or refused, means not processed in any way.
    const isUnprocessed =
      stream.id === undefined ||
      stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM ||
      (this.#goAway !== undefined && stream.id > this.#goAway.lastStreamId);
    this.#owner.broken(exchange, this.#failure(error), isUnprocessed);
  }

  #failure(error: Error | undefined): ApnsAnswer {
    if (this.#goAway !== undefined) {
      const { errorCode, reason } = this.#goAway;
      return { kind: 'goaway', errorCode, ...(reason === undefined ? {} : { reason }) };
    }
    const cause = this.#error ?? error;
    const code = cause !== undefined && 'code' in cause && typeof cause.code === 'string' ? { code: cause.code } : {};
    // OpenSSL's `reason` is the readable part of its message.
    const reason =
      cause !== undefined && 'reason' in cause && typeof cause.reason === 'string' ? cause.reason : undefined;
    const message = reason ?? cause?.message ?? 'the connection closed before an answer';
    return { kind: 'failure', message: `Post "${this.#options.url.origin}": ${message}`, ...code };
  }

  /** Asks whether anybody is still there; takes no new pushes meanwhile, ends the session when nobody answers. */
  #verify(): void {
    if (this.#isPinging || !this.#isReady || this.#http2.destroyed) {
      return;
    }
    this.#isPinging = true;
    const { pingTimeoutMs } = this.#options;
    const timer = setTimeout(() => this.destroy(new Error(`no PING answer within ${pingTimeoutMs} ms`)), pingTimeoutMs);
    const isSent = this.#http2.ping((error) => {
      clearTimeout(timer);
      this.#isPinging = false;
      if (error === null) {
        this.#lastUseAt = performance.now();
        this.#owner.hasRoom();
      }
    });
    if (!isSent) {
      clearTimeout(timer);
      this.#isPinging = false;
    }
  }

  /** At most one PING per idle period: APNs takes more for abuse (apple-protocols §2.4). */
  #watchIdle(waitMs: number): void {
    this.#idleTimer = setTimeout(() => {
      const idleMs = this.#streams.size > 0 ? 0 : performance.now() - this.#lastUseAt;
      const leftMs = this.#options.pingAfterIdleMs - idleMs;
      if (leftMs <= 0) {
        this.#verify();
      }
      this.#watchIdle(leftMs > 0 ? leftMs : this.#options.pingAfterIdleMs);
    }, waitMs);
    this.#idleTimer.unref();
  }
}

function readAnswer(status: number, headers: http2.IncomingHttpHeaders, body: Buffer): ApnsAnswer {
  const apnsId = headers['apns-id'];
  const retryAfter = headers['retry-after'];
  return {
    kind: 'response',
    status,
    ...(typeof apnsId === 'string' ? { apnsId } : {}),
    ...(retryAfter === undefined ? {} : { retryAfter }),
    ...(status === 200 ? {} : readPushError(body)),
  };
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
