import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import { countRows, readEnrollment, readQueue } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, issueIdentity, makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

// A device with a valid certificate of its own wants to be another one.

const test = useTestDatabase();
const heardIds: unknown[] = [];
let upstream: Server;
const server = useTestServer(test, async () => {
  upstream = createServer((request, response) => {
    heardIds.push(request.headers['x-enrollment-id']);
    response.end('{}');
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  return { DM_URL: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/` };
});
afterAll(() => new Promise((resolve) => upstream.close(resolve)));

const profile = writePlist({ PayloadContent: [{ PayloadType: 'com.apple.mdm' }] });

/** An enrolled device with a bootstrap token, to which an enrollment profile was sent. */
async function underRenewal(): Promise<TestDevice> {
  const device = await TestDevice.enrolled(server);
  await device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.from('secret') });
  await enqueue(server, device, makeCommand(randomUUID(), 'InstallProfile', { Payload: profile }), randomUUID());
  return device;
}

describe("another device's renewal", () => {
  it('is not had by telling the serial number of the own certificate: the Authenticate begins an enrollment', async () => {
    const victim = await underRenewal();
    const thief = await TestDevice.make(server, { ids: victim.ids });
    thief.identity = await issueIdentity(server.authority, { commonName: thief.serialNumber });
    await thief.authenticate();
    expect((await thief.checkIn('GetBootstrapToken')).body).toHaveLength(0);
    expect(await readQueue(test.db, victim.id)).toEqual([]);
  });

  it('is the own one when the certificate names the serial number on record', async () => {
    const device = await underRenewal();
    device.identity = await issueIdentity(server.authority, { commonName: device.serialNumber });
    await device.authenticate();
    expect((await device.checkIn('GetBootstrapToken')).body).not.toHaveLength(0);
    expect(await readQueue(test.db, device.id)).toHaveLength(2);
  });
});

describe('ids that could be taken for another', () => {
  it("a device cannot be named like another one's user channel", async () => {
    const victim = await TestDevice.enrolled(server);
    const user = victim.user({ UserID: 'U1' });
    await user.tokenUpdate();
    await enqueue(server, user, 'for-the-user');
    for (const ids of [{ UDID: user.id }, { EnrollmentID: user.id }]) {
      const thief = await TestDevice.make(server, { ids });
      for (const reply of [await thief.authenticate(), await thief.report('Idle'), await thief.checkIn('CheckOut')])
        expect([reply.status, reply.text]).toEqual([400, 'Bad Request\n']);
    }
    expect(await readEnrollment(test.db, victim.id)).toMatchObject({ enabled: 1 });
    expect(await user.next()).toBe('for-the-user');
  });

  it('blanks and line ends at the ends of an id, which HTTP headers lose on their way, are refused', async () => {
    const victim = await TestDevice.enrolled(server);
    const before = await countRows(test.db);
    for (const around of ['\n%', '%\n', '\t%', '%\t', ' %', '% ', '%\r', '%\u0085', '%\nX-Enrollment-ID: a']) {
      const thief = await TestDevice.make(server, { ids: { UDID: around.replace('%', victim.id) } });
      expect((await thief.authenticate()).status).toBe(400);
      expect((await thief.checkIn('DeclarativeManagement', { Endpoint: 'tokens' })).status).toBe(400);
    }
    expect(heardIds).toEqual([]);
    expect(await countRows(test.db)).toEqual(before);
  });
});
