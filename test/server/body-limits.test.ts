import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCertificateAuthority } from '../../mdm/certificates/certificate-authority.ts';
import { combinedHandler } from '../../server/device/device-router.ts';
import { listen, portOf, stopListening } from '../../server/listen.ts';
import { signMdm } from '../../simulator/mdm-signature.ts';
import { countRows } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const LIMIT = 64 * 1024;
const test = useTestDatabase();
const server = useTestServer(test);
let port = 0;
let stop: () => Promise<void>;
/** The header of a device that may speak: whether it is of this body, the body's end will show. */
let signed = '';

/** The device endpoint with limits that a test can reach. */
beforeAll(async () => {
  const options = { ...server.device, maxBodyBytes: LIMIT, bodyTimeoutMs: 100 };
  const listening = await listen(express().all('/mdm', combinedHandler(options)), 0, '127.0.0.1');
  port = portOf(listening);
  stop = () => stopListening(listening, 500);
  const device = await TestDevice.make(server);
  signed = `Mdm-Signature: ${signMdm(Buffer.from('another body'), device.identity)}`;
});
afterAll(() => stop());

/** Writes these bytes on a connection of its own; gives all that comes back until it is closed. */
function talk(write: (socket: Socket) => void): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = '';
  const socket = connect(port, '127.0.0.1', () => write(socket));
  socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')));
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', (error) => (text === '' ? reject(error) : resolve(text)));
  socket.on('close', () => resolve(text));
  return promise;
}

const head = (...headers: string[]): string => ['PUT /mdm HTTP/1.1', 'Host: x', ...headers, '', ''].join('\r\n');

describe('bodies of device requests', () => {
  it('that announce more than the limit are refused with 413 before they are sent', async () => {
    const reply = await talk((socket) => socket.write(head(`Content-Length: ${LIMIT + 1}`)));
    expect(reply).toMatch(/^HTTP\/1\.1 413 /);
    expect(reply).toMatch(/Connection: close/i);
  });

  it('that grow beyond the limit are refused with 413 and not read to their end', async () => {
    const chunk = `${(16_384).toString(16)}\r\n${'x'.repeat(16_384)}\r\n`;
    const reply = await talk((socket) => socket.write(head('Transfer-Encoding: chunked', signed) + chunk.repeat(5)));
    expect(reply).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('of exactly the limit are read', async () => {
    const reply = await talk((socket) =>
      socket.write(`${head(`Content-Length: ${LIMIT}`, signed, 'Connection: close')}${'x'.repeat(LIMIT)}`),
    );
    expect(reply).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('that do not arrive in time are refused with 408 (nanomdm §9.5)', async () => {
    const reply = await talk((socket) => socket.write(`${head('Content-Length: 10', signed)}12345`));
    expect(reply).toMatch(/^HTTP\/1\.1 408 /);
    expect(reply).toMatch(/Connection: close/i);
  });

  it('of a sender without a certificate of ours are not waited for', async () => {
    const stranger = await TestDevice.make(server, {
      authority: await createCertificateAuthority({ commonName: 'A stranger CA', years: 1 }),
    });
    const untrusted = `Mdm-Signature: ${signMdm(Buffer.from('x'), stranger.identity)}`;
    for (const headers of [[], ['Mdm-Signature: nonsense'], [untrusted]]) {
      const reply = await talk((socket) =>
        socket.write(`${head('Content-Length: 10', 'Connection: close', ...headers)}1`),
      );
      expect(reply).toMatch(/^HTTP\/1\.1 400 /);
    }
  });

  it('that trickle in are cut off too: the limit is on the whole', async () => {
    let timer: NodeJS.Timeout | undefined;
    const reply = await talk((socket) => {
      socket.write(head('Content-Length: 50000', signed));
      timer = setInterval(() => socket.write('x', () => {}), 10);
    });
    clearInterval(timer);
    expect(reply).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('that are compressed are refused with 415: nothing is unpacked (nanomdm §0.5)', async () => {
    const device = await TestDevice.enrolled(server);
    const body = gzipSync(device.reportOf('Idle'));
    for (const encoding of ['gzip', 'deflate', 'br', 'x'])
      expect((await device.put(body, { headers: { 'Content-Encoding': encoding } })).status).toBe(415);
    expect((await device.report('Idle', undefined, {}, { headers: { 'Content-Encoding': 'identity' } })).status).toBe(
      200,
    );
  });

  it('of a connection that breaks leave nothing', async () => {
    const device = await TestDevice.make(server);
    const before = await countRows(test.db);
    const body = device.messageOf('Authenticate');
    await talk((socket) => {
      socket.write(`${head('Content-Type: application/x-apple-aspen-mdm-checkin', `Content-Length: ${body.length}`)}`);
      socket.write(body.subarray(0, -1), () => socket.destroy());
    });
    expect(await countRows(test.db)).toEqual(before);
    expect(server.log.filter(({ fields }) => fields.status === 500)).toEqual([]);
  });
});

describe('limits of the server itself', () => {
  it('a report of 20 MiB is heard, one byte more is 413', async () => {
    const device = await TestDevice.enrolled(server);
    const most = 20 * 1024 * 1024;
    const over = await server.http.send('/mdm', { method: 'PUT', body: Buffer.alloc(most + 1) }).then(
      (reply) => reply.status,
      (error: NodeJS.ErrnoException) => error.code,
    );
    // Whoever keeps on sending may find the connection closed before the answer is read.
    expect([413, 'EPIPE', 'ECONNRESET']).toContain(over);
    const idle = device.reportOf('Idle');
    const padded = Buffer.concat([idle, Buffer.alloc(most - idle.length, ' ')]);
    expect((await device.put(padded)).status).toBe(200);
  });

  it('a signature of 60 kB with a long chain passes, and a header beyond 1 MiB is 431', async () => {
    const device = await TestDevice.enrolled(server);
    const { certificateDer } = device.identity;
    const body = device.reportOf('Idle');
    const extraCertificates = Array.from({ length: 60 }, () => certificateDer);
    const signature = signMdm(body, { ...device.identity, extraCertificates });
    expect(signature.length).toBeGreaterThan(32_000);
    expect((await device.put(body, { signature })).status).toBe(200);
    expect((await device.put(body, { headers: { 'X-Long': 'x'.repeat(1024 * 1024) } })).status).toBe(431);
  });
});
