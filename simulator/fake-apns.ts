import { randomUUID } from 'node:crypto';
import http2 from 'node:http2';
import type net from 'node:net';
import { TLSSocket } from 'node:tls';
import { type ApnsError, type ReceivedPush, readPush } from './fake-apns-request.ts';
import { ApnsScript, type Registration } from './fake-apns-script.ts';
import { makeTlsCertificate, type TlsCertificate } from './make-tls-certificate.ts';

export type { ApnsError, ReceivedPush } from './fake-apns-request.ts';
export type { Registration } from './fake-apns-script.ts';

export interface FakeApnsOptions {
  /** 0, the default, takes a free one. */
  readonly port?: number;
  /** How clients reach it. 127.0.0.1, the default, is all it listens on then; any other name: it listens on all addresses. */
  readonly host?: string;
  /** Made at start when absent. Given: a restarted fake is trusted like the one before. */
  readonly certificate?: TlsCertificate;
  /** Then a client without a certificate gets 403. Who signed the certificate is not looked at. */
  readonly requireClientCertificate: boolean;
  /** 1000 */
  readonly maxConcurrentStreams?: number;
  /** How many pushes `pushes` remembers; 10,000. */
  readonly logSize?: number;
}

export interface GoAwayOptions {
  readonly reason?: string;
  readonly timestamp?: number;
  /** HTTP/2 error code; 0. */
  readonly errorCode?: number;
  /** Streams above it count as never seen; by default all that were seen count. */
  readonly lastStreamId?: number;
}

export interface FakeApnsCounts {
  sessions: number;
  openSessions: number;
  /** Requests whose end was read. */
  received: number;
  accepted: number;
  /** Accepted, and a registered device took notice. */
  delivered: number;
  /** Requests read or being read and not answered yet. */
  unanswered: number;
  mostUnanswered: number;
  pings: number;
  /** Error answers by reason, or by status where there is none. */
  refused: Record<string, number>;
}

/**
 * A stand-in for api.push.apple.com: HTTP/2 over TLS, Apple's checks and error answers (apple-protocols §2.2, §2.3),
 * devices that can be registered, and faults on demand.
 */
export class FakeApns {
  readonly url: string;
  readonly port: number;
  readonly certificate: TlsCertificate;
  /** What a client must trust. */
  readonly caPem: string;
  readonly counts: FakeApnsCounts = {
    sessions: 0,
    openSessions: 0,
    received: 0,
    accepted: 0,
    delivered: 0,
    unanswered: 0,
    mostUnanswered: 0,
    pings: 0,
    refused: {},
  };
  readonly #script = new ApnsScript();
  readonly #options: FakeApnsOptions;
  readonly #server: http2.Http2SecureServer;
  readonly #sockets: Set<net.Socket>;
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #held = new Set<() => void>();
  #pushes: ReceivedPush[] = [];
  #delayMs = 0;

  constructor(
    server: http2.Http2SecureServer,
    sockets: Set<net.Socket>,
    certificate: TlsCertificate,
    options: FakeApnsOptions,
  ) {
    this.#server = server;
    this.#sockets = sockets;
    this.#options = options;
    this.certificate = certificate;
    this.caPem = certificate.certificatePem;
    const address = server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    this.url = `https://${options.host ?? LOOPBACK}:${this.port}`;
    server.on('session', (session) => this.#follow(session));
    server.on(
      'stream',
      (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, _flags: number, rawHeaders: string[]) =>
        this.#receive(stream, headers, rawHeaders),
    );
  }

  /** The latest pushes that were well-formed, whatever was answered, oldest first. */
  get pushes(): readonly ReceivedPush[] {
    return this.#pushes.slice(-(this.#options.logSize ?? 10_000));
  }

  /** Makes a device known. From the first one on, tokens that are not known get `BadDeviceToken`. */
  register(tokenHex: string, registration: Registration): void {
    this.#script.register(tokenHex.toLowerCase(), registration);
  }

  /** From now on the token gets 410 `Unregistered` with this timestamp (milliseconds). */
  unregister(tokenHex: string, timestamp: number = Date.now()): void {
    this.#script.unregister(tokenHex.toLowerCase(), timestamp);
  }

  /** The next `count` well-formed pushes get this answer. */
  answerNext(count: number, answer: ApnsError): void {
    this.#script.answerNext(count, answer);
  }

  /** Every push to this token gets this answer, until it is taken back with `undefined`. */
  answerFor(tokenHex: string, answer: ApnsError | undefined): void {
    this.#script.answerFor(tokenHex.toLowerCase(), answer);
  }

  /** Does not answer pushes to this token, or to any (`all`), until `speak()`. */
  silence(tokenHex: string): void {
    this.#script.silence(tokenHex.toLowerCase());
  }

  /** Ends every silence and answers what was held back. */
  speak(): void {
    this.#script.speak();
    for (const answer of [...this.#held]) {
      answer();
    }
    this.#held.clear();
  }

  /** Each answer comes this much later; 0 to stop. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** Sends GOAWAY on every session; the open streams may finish where the code is 0. */
  goaway(options: GoAwayOptions | string = {}): void {
    const {
      reason,
      timestamp,
      errorCode = 0,
      lastStreamId,
    } = typeof options === 'string' ? { reason: options } : options;
    const data = reason === undefined ? undefined : Buffer.from(JSON.stringify({ reason, timestamp }));
    for (const session of this.#sessions) {
      session.goaway(errorCode, lastStreamId, data);
    }
  }

  /** Changes the limit of the sessions that are open (the option keeps counting for new ones). */
  limitStreams(maxConcurrentStreams: number): void {
    for (const session of this.#sessions) {
      session.settings({ maxConcurrentStreams });
    }
  }

  /** Cuts every connection without a word. */
  dropConnections(): void {
    for (const socket of this.#sockets) {
      socket.resetAndDestroy();
    }
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) {
      session.destroy();
    }
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await closed;
  }

  #follow(session: http2.ServerHttp2Session): void {
    this.counts.sessions += 1;
    this.counts.openSessions += 1;
    this.#sessions.add(session);
    session.on('error', () => undefined);
    session.on('ping', () => {
      this.counts.pings += 1;
    });
    session.on('close', () => {
      this.counts.openSessions -= 1;
      this.#sessions.delete(session);
    });
  }

  #receive(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    const chunks: Buffer[] = [];
    let isAnswered = false;
    this.counts.unanswered += 1;
    this.counts.mostUnanswered = Math.max(this.counts.mostUnanswered, this.counts.unanswered);
    const answered = (): void => {
      this.counts.unanswered -= isAnswered ? 0 : 1;
      isAnswered = true;
    };
    stream.on('error', () => undefined);
    stream.on('close', answered);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      this.counts.received += 1;
      this.#judge(stream, headers, rawHeaders, Buffer.concat(chunks), answered);
    });
  }

  #judge(
    stream: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
    rawHeaders: readonly string[],
    body: Buffer,
    answered: () => void,
  ): void {
    const given = headers['apns-id'];
    const apnsId = typeof given === 'string' ? given : randomUUID().toUpperCase();
    const certificate = certificateTopic(stream.session);
    const read =
      certificate === undefined && this.#options.requireClientCertificate
        ? { error: { status: 403, reason: 'MissingProviderToken' } }
        : readPush(headers, rawHeaders, body, certificate, apnsId);
    if ('error' in read) {
      this.#answer(stream, apnsId, read.error, undefined, answered);
      return;
    }
    this.#log(read.push);
    const answer = (): void => this.#answer(stream, apnsId, this.#script.answer(read.push), read.push, answered);
    if (this.#script.isSilent(read.push.tokenHex)) {
      this.#held.add(answer);
      stream.on('close', () => this.#held.delete(answer));
    } else if (this.#delayMs > 0) {
      setTimeout(answer, this.#delayMs);
    } else {
      answer();
    }
  }

  #answer(
    stream: http2.ServerHttp2Stream,
    apnsId: string,
    error: ApnsError | undefined,
    push: ReceivedPush | undefined,
    answered: () => void,
  ): void {
    if (stream.destroyed || stream.closed) {
      return;
    }
    answered();
    if (error === undefined) {
      this.counts.accepted += 1;
      stream.respond({ ':status': 200, 'apns-id': apnsId }, { endStream: true });
      this.counts.delivered += push !== undefined && this.#script.deliver(push) ? 1 : 0;
      return;
    }
    const { status, reason, timestamp, retryAfter } = error;
    const name = reason ?? String(status);
    this.counts.refused[name] = (this.counts.refused[name] ?? 0) + 1;
    stream.respond({
      ':status': status,
      'apns-id': apnsId,
      'content-type': 'application/json',
      ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    });
    stream.end(error.body ?? JSON.stringify({ reason, timestamp }));
  }

  #log(push: ReceivedPush): void {
    const logSize = this.#options.logSize ?? 10_000;
    this.#pushes.push(push);
    // Trimmed now and then, not at each push.
    if (this.#pushes.length > 2 * logSize) {
      this.#pushes = this.#pushes.slice(-logSize);
    }
  }
}

const LOOPBACK = '127.0.0.1';

/** Starts a fake and resolves when it listens. Rejects with the socket's error, as `EADDRINUSE`. */
export async function startFakeApns(options: FakeApnsOptions): Promise<FakeApns> {
  const certificate =
    options.certificate ??
    (await makeTlsCertificate(options.host === undefined || options.host === LOOPBACK ? [] : [options.host]));
  const server = http2.createSecureServer({
    cert: certificate.certificatePem,
    key: certificate.privateKeyPem,
    requestCert: true,
    // Taken from anybody: what is in it is judged per request, as Apple does.
    rejectUnauthorized: false,
    settings: { maxConcurrentStreams: options.maxConcurrentStreams ?? 1000 },
  });
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  server.on('sessionError', () => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, (options.host ?? LOOPBACK) === LOOPBACK ? LOOPBACK : '0.0.0.0', resolve);
  });
  return new FakeApns(server, sockets, certificate, options);
}

const topics = new WeakMap<http2.Http2Session, { readonly topic: string | undefined }>();

/** The UID (OID 0.9.2342.19200300.100.1.1) of the session's client certificate; asked once per session. */
function certificateTopic(session: http2.Http2Session | undefined): string | undefined {
  if (session === undefined || session.destroyed) {
    return undefined;
  }
  const known = topics.get(session);
  if (known !== undefined) {
    return known.topic;
  }
  const { socket } = session;
  const subject: object = socket instanceof TLSSocket ? (socket.getPeerCertificate().subject ?? {}) : {};
  const topic = 'UID' in subject && typeof subject.UID === 'string' ? subject.UID : undefined;
  topics.set(session, { topic });
  return topic;
}
