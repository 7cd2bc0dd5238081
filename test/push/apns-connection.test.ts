import { randomBytes } from 'node:crypto';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApnsConnection, type ConnectionOptions } from '../../push/apns-connection.ts';
import { ApnsSession, type SessionOwner } from '../../push/apns-session.ts';
import { type ApnsAnswer, classifyResponse } from '../../push/classify-response.ts';
import { type FakeApns, startFakeApns } from '../../simulator/fake-apns.ts';
import { makeTlsCertificate } from '../../simulator/make-tls-certificate.ts';
import { makeClientCertificate, makePush, makePushes, until } from './push-fixtures.ts';
import { Relay } from './relay.ts';

let fake: FakeApns;
let material: { certificatePem: string; privateKeyPem: string };
const closers: (() => Promise<unknown> | unknown)[] = [];

beforeEach(async () => {
  fake = await startFakeApns({ requireClientCertificate: true, maxConcurrentStreams: 100 });
  closers.push(() => fake.close());
  material = await makeClientCertificate();
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) {
    await close();
  }
});

function connect(options: Partial<ConnectionOptions> = {}): ApnsConnection {
  const connection = new ApnsConnection({ ...material, url: fake.url, caPem: fake.caPem, ...options });
  closers.push(() => {
    fake.speak();
    return connection.drain();
  });
  return connection;
}

const outcome = (answer: ApnsAnswer): string => classifyResponse(answer).outcome;
const error = (answer: ApnsAnswer | undefined): string | undefined => answer && classifyResponse(answer).error;
const pushAll = (connection: ApnsConnection, count: number): Promise<ApnsAnswer>[] =>
  makePushes(count).map((push) => connection.push(push));

/** A listening socket that does with its connections whatever it is told to. */
async function listen(server: net.Server | tls.Server): Promise<string> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) {
      socket.destroy();
    }
    await closed;
  });
  const address = server.address();
  return `https://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
}

describe('GOAWAY', () => {
  test('streams above the last id are sent again on a new session, the others finish on the old one', async () => {
    const connection = connect();
    fake.silence('all');
    const pushes = makePushes(3);
    const answers = pushes.map((push) => connection.push(push));
    await until(() => fake.counts.unanswered === 3, 'three pushes arrive');
    fake.goaway({ lastStreamId: 1 });
    await until(() => fake.counts.received === 5 && fake.counts.unanswered === 3, 'two come again');
    expect(fake.counts.sessions).toBe(2);
    fake.speak();
    expect((await Promise.all(answers)).map(outcome)).toEqual(['sent', 'sent', 'sent']);
    const sent = (index: number): number => fake.pushes.filter(({ apnsId }) => apnsId === pushes[index]?.apnsId).length;
    expect([sent(0), sent(1), sent(2)]).toEqual([1, 2, 2]);
    await until(() => fake.counts.openSessions === 1, 'the old session closes');
  });

  test('a push is sent again once, not for ever', async () => {
    const connection = connect();
    fake.silence('all');
    const answers = pushAll(connection, 3);
    await until(() => fake.counts.unanswered === 3, 'three pushes arrive');
    fake.goaway({ lastStreamId: 1 });
    await until(() => fake.counts.received === 5 && fake.counts.unanswered === 3, 'two come again');
    fake.goaway({ lastStreamId: 1, reason: 'Shutdown' });
    const last = await Promise.race(answers.slice(1));
    expect(last).toEqual({ kind: 'goaway', errorCode: 0, reason: 'Shutdown' });
    expect(fake.counts.received).toBe(5);
  });

  test('nanomdm §10 #31: with an error code, its reason is the result and nothing crashes', async () => {
    const connection = connect();
    fake.silence('all');
    const answers = pushAll(connection, 2);
    await until(() => fake.counts.unanswered === 2, 'two pushes arrive');
    fake.goaway({ errorCode: 2, reason: 'InternalServerError' });
    for (const answer of await Promise.all(answers)) {
      expect(outcome(answer)).toBe('retry');
      expect(error(answer)).toBe('push HTTP status: 2: APNs push error: InternalServerError');
    }
    fake.speak();
    expect(outcome(await connection.push(makePush()))).toBe('sent');
  });

  test('a reason that names the certificate stops the topic; nothing is sent again', async () => {
    const connection = connect();
    fake.silence('all');
    const answers = pushAll(connection, 3);
    await until(() => fake.counts.unanswered === 3, 'three pushes arrive');
    fake.goaway({ lastStreamId: 1, reason: 'BadCertificate' });
    expect((await Promise.all(answers.slice(1))).map(outcome)).toEqual(['certificate', 'certificate']);
    expect(fake.counts.received).toBe(3);
  });

  test('while thousands are under way none is lost', async () => {
    const connection = connect();
    const answers = pushAll(connection, 3000);
    for (const goal of [300, 900, 1500]) {
      await until(() => fake.counts.accepted >= goal, `${goal} accepted`);
      fake.goaway('Shutdown');
    }
    expect(new Set((await Promise.all(answers)).map(outcome))).toEqual(new Set(['sent']));
    expect(fake.counts.sessions).toBeGreaterThan(1);
  });
});

describe('limits', () => {
  test('never more in flight than maxInFlight', async () => {
    const answers = await Promise.all(pushAll(connect({ maxInFlight: 7 }), 200));
    expect(answers.every((answer) => outcome(answer) === 'sent')).toBe(true);
    expect(fake.counts.mostUnanswered).toBeLessThanOrEqual(7);
  });

  test('a limit that changes mid-way is followed, down and up', async () => {
    const connection = connect();
    fake.silence('all');
    const answers = pushAll(connection, 250);
    await until(() => fake.counts.unanswered === 100, 'the first hundred arrive');
    fake.limitStreams(5);
    fake.speak();
    await Promise.all(answers);
    fake.counts.mostUnanswered = 0;
    await Promise.all(pushAll(connection, 50));
    expect(fake.counts.mostUnanswered).toBeLessThanOrEqual(5);
    fake.silence('all');
    fake.limitStreams(60);
    const more = pushAll(connection, 80);
    await until(() => fake.counts.unanswered === 60, 'sixty at a time');
    fake.speak();
    await Promise.all(more);
    expect(fake.counts.sessions).toBe(1);
  });

  test('a peer that allows nothing is waited for, and used as soon as it allows', async () => {
    const strict = await startFakeApns({ requireClientCertificate: true, maxConcurrentStreams: 0 });
    closers.push(() => strict.close());
    const connection = connect({ url: strict.url, caPem: strict.caPem });
    const answer = connection.push(makePush());
    await until(() => strict.counts.sessions === 1, 'the session is there');
    strict.limitStreams(1);
    expect(outcome(await answer)).toBe('sent');
  });

  test('a peer that goes on allowing nothing is given up', async () => {
    const strict = await startFakeApns({ requireClientCertificate: true, maxConcurrentStreams: 0 });
    closers.push(() => strict.close());
    const connection = connect({ url: strict.url, caPem: strict.caPem, requestTimeoutMs: 100 });
    const answers = await Promise.all(pushAll(connection, 3));
    expect(answers.map(outcome)).toEqual(['retry', 'retry', 'retry']);
    expect(error(answers[0])).toContain('no stream allowed within 100 ms');
    await until(() => strict.counts.openSessions === 0, 'the session is dropped');
  });
});

describe('silence', () => {
  test('a push that is not answered is reset and reported; the session stays', async () => {
    const connection = connect({ requestTimeoutMs: 100 });
    const silent = makePush();
    fake.silence(silent.token.toString('hex'));
    const [answer] = await Promise.all([connection.push(silent), ...pushAll(connection, 20)]);
    expect(outcome(answer)).toBe('retry');
    expect(error(answer)).toContain('no answer within 100 ms');
    await until(() => fake.counts.unanswered === 0, 'the stream is reset');
    expect(outcome(await connection.push(makePush()))).toBe('sent');
    expect(fake.counts.sessions).toBe(1);
  });

  test('a network that carries nothing any more costs the pushes under way, not those waiting', async () => {
    const relay = await Relay.start(fake.port);
    closers.push(() => relay.close());
    let incidents = 0;
    const connection = connect({
      url: relay.url,
      requestTimeoutMs: 200,
      pingTimeoutMs: 100,
      onIncident: () => {
        incidents += 1;
      },
    });
    await connection.push(makePush());
    relay.freeze();
    const answers = await Promise.all(pushAll(connection, 150));
    expect(answers.slice(0, 100).map(outcome)).toEqual(Array.from({ length: 100 }, () => 'retry'));
    expect(answers.slice(100).map(outcome)).toEqual(Array.from({ length: 50 }, () => 'sent'));
    expect(incidents).toBe(1);
    expect(fake.counts.sessions).toBe(2);
  });

  test('an idle session is asked by PING, and dropped when nobody answers', async () => {
    const relay = await Relay.start(fake.port);
    closers.push(() => relay.close());
    const connection = connect({ url: relay.url, pingAfterIdleMs: 30, pingTimeoutMs: 100 });
    await connection.push(makePush());
    await until(() => fake.counts.pings >= 2, 'PINGs arrive');
    expect(fake.counts.sessions).toBe(1);
    relay.freeze();
    await until(() => fake.counts.openSessions === 0, 'the dead session is dropped');
    expect(outcome(await connection.push(makePush()))).toBe('sent');
  });
});

describe('losing the connection', () => {
  test('a reset fails the pushes under way as one incident, and the next ones reconnect', async () => {
    let incidents = 0;
    const connection = connect({
      onIncident: () => {
        incidents += 1;
      },
    });
    fake.silence('all');
    const answers = pushAll(connection, 100);
    await until(() => fake.counts.unanswered === 100, 'a hundred pushes arrive');
    fake.dropConnections();
    expect(new Set((await Promise.all(answers)).map(outcome))).toEqual(new Set(['retry']));
    expect(incidents).toBe(1);
    fake.speak();
    expect(outcome(await connection.push(makePush()))).toBe('sent');
  });

  test('a server that restarts is found again', async () => {
    const connection = connect();
    expect(outcome(await connection.push(makePush()))).toBe('sent');
    const { port, certificate } = fake;
    await fake.close();
    const away = await connection.push(makePush());
    expect(outcome(away)).toBe('retry');
    fake = await startFakeApns({ port, certificate, requireClientCertificate: true });
    expect(outcome(await connection.push(makePush()))).toBe('sent');
  });

  test('nobody listening, nobody talking, no HTTP/2, no trust: a reason each time, never a crash', async () => {
    const { certificatePem: cert, privateKeyPem: key } = await makeTlsCertificate();
    const mute = await listen(net.createServer());
    const rude = await listen(net.createServer((socket) => socket.destroy()));
    const old = await listen(
      tls.createServer({ cert, key }, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    );
    const noise = await listen(
      tls.createServer({ cert, key, ALPNProtocols: ['h2'] }, (socket) => {
        socket.on('error', () => undefined);
        socket.write(randomBytes(4096));
      }),
    );
    const cases: [Partial<ConnectionOptions>, RegExp][] = [
      [{ url: 'https://127.0.0.1:1' }, /ECONNREFUSED/],
      [{ url: 'https://name.invalid' }, /ENOTFOUND|EAI_AGAIN/],
      [{ url: mute }, /no HTTP\/2 connection within 300 ms/],
      [{ url: rude }, /disconnected|ECONNRESET/],
      [{ url: old, caPem: cert }, /./],
      [{ url: noise, caPem: cert }, /./],
      [{ url: fake.url, caPem: cert }, /self-signed certificate/],
    ];
    for (const [options, reason] of cases) {
      const answers = await Promise.all(pushAll(connect({ connectTimeoutMs: 300, ...options }), 3));
      expect(answers.map(outcome)).toEqual(['retry', 'retry', 'retry']);
      expect(error(answers[0])).toMatch(reason);
    }
  });

  test('a certificate refused after a TLS 1.3 handshake is known as that', async () => {
    const server = await makeTlsCertificate();
    const url = await listen(
      http2.createSecureServer({
        cert: server.certificatePem,
        key: server.privateKeyPem,
        requestCert: true,
        rejectUnauthorized: true,
      }),
    );
    const ended = new Promise<{ isNeverReady: boolean; failure: ApnsAnswer }>((resolve) => {
      const ignore = (): void => undefined;
      const owner: SessionOwner = {
        hasRoom: ignore,
        freed: ignore,
        answered: ignore,
        broken: ignore,
        leaving: ignore,
        ended: (_session, isNeverReady, failure) => resolve({ isNeverReady, failure }),
      };
      const secureContext = tls.createSecureContext({ ca: server.certificatePem });
      const times = { connectTimeoutMs: 5000, requestTimeoutMs: 5000, pingAfterIdleMs: 5000, pingTimeoutMs: 5000 };
      new ApnsSession({ url: new URL(url), secureContext, ...times }, owner);
    });
    const { isNeverReady, failure } = await ended;
    expect(isNeverReady).toBe(true);
    expect(outcome(failure)).toBe('certificate');
    expect(error(failure)).toMatch(/certificate required/);
  });
});

describe('draining', () => {
  test('finishes what is waiting, then closes; an unused connection drains at once', async () => {
    await connect().drain();
    const connection = connect();
    const answers = pushAll(connection, 300);
    await connection.drain();
    expect(fake.counts.accepted).toBe(300);
    expect((await Promise.all(answers)).every((answer) => outcome(answer) === 'sent')).toBe(true);
    await until(() => fake.counts.openSessions === 0, 'the session closes');
    expect(outcome(await connection.push(makePush()))).toBe('retry');
  });
});
