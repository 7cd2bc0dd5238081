import { describe, expect, it } from 'vitest';
import { writePem } from '../../mdm/certificates/read-pem.ts';
import { countRows, readEnrollment } from '../harness/device-rows.ts';
import { useForeignAuthority } from '../harness/test-authority.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, issueIdentity, makeCommand, TestDevice } from '../harness/test-device.ts';
import { startTestServer, useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const foreign = useForeignAuthority();
const server = useTestServer(test, async () => ({ CA_FILE: foreign.file }));
const strange = () => issueIdentity(server.authority, { commonName: 'device identity' });

describe('which certificate may speak for which device', () => {
  it('nanomdm §10 #15: TokenUpdate without an Authenticate is refused, and once more', async () => {
    const device = await TestDevice.make(server);
    const before = await countRows(test.db);
    expect((await device.tokenUpdate()).status).toBe(403);
    expect((await device.tokenUpdate()).status).toBe(403);
    expect(await countRows(test.db)).toEqual(before);
  });

  it('nanomdm §10 #16, #17: Authenticate binds the certificate; another one is refused', async () => {
    const device = await TestDevice.enrolled(server);
    expect((await device.tokenUpdate()).status).toBe(200);
    const identity = await strange();
    for (const reply of [
      await device.tokenUpdate({}, { identity }),
      await device.report('Idle', undefined, {}, { identity }),
    ])
      expect([reply.status, reply.text]).toEqual([403, 'Forbidden\n']);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ tally: 2 });
    expect(server.log.findLast(({ event }) => event === 'enrollment.refused')?.fields).toMatchObject({
      reason: 'enrollment not associated with cert',
    });
  });

  it('nanomdm §10 #76: enrolling again with the same or with a new certificate; the old one is still heard', async () => {
    const device = await TestDevice.enrolled(server);
    expect((await device.authenticate()).status).toBe(200);
    const former = device.identity;
    device.identity = await strange();
    expect((await device.authenticate()).status).toBe(200);
    expect((await device.tokenUpdate()).status).toBe(200);
    expect((await device.report('Idle')).status).toBe(200);
    expect((await device.report('Idle', undefined, {}, { identity: former })).status).toBe(200);
  });

  it("nanomdm §10 #77: a device cannot enroll with another device's certificate, and nothing is stored of it", async () => {
    const device = await TestDevice.enrolled(server);
    const thief = await TestDevice.make(server, { identity: device.identity });
    const before = await countRows(test.db);
    // The reference: 500.
    expect((await thief.authenticate()).status).toBe(403);
    expect(await countRows(test.db)).toEqual(before);
    expect((await device.report('Idle')).status).toBe(200);
  });

  it("an enrolled device cannot speak for another one with its own certificate, nor fetch the other's commands", async () => {
    const [victim, thief] = [await TestDevice.enrolled(server), await TestDevice.enrolled(server)];
    await enqueue(server, victim, makeCommand('for the victim'));
    const asVictim = new TestDevice(server, victim.ids, thief.identity, victim.serialNumber);
    for (const reply of [
      await asVictim.report('Idle'),
      await asVictim.report('Acknowledged', 'for the victim'),
      await asVictim.checkIn('GetBootstrapToken'),
      await asVictim.checkIn('CheckOut'),
      await asVictim.authenticate(),
    ])
      expect([reply.status, reply.text]).toEqual([403, 'Forbidden\n']);
    expect(await victim.next()).toBe('for the victim');
  });
});

describe('a renewed certificate (DESIGN §7)', () => {
  const renewed = (device: TestDevice) => issueIdentity(server.authority, { commonName: device.id });

  it('of our own authority that names the device is heard from the first message on, whichever it is', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, 'kept-over-renewal');
    await device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.from('kept') });
    const former = device.identity;
    device.identity = await renewed(device);
    expect(await device.next()).toBe('kept-over-renewal');
    expect((await device.checkIn('GetBootstrapToken')).body.length).toBeGreaterThan(0);
    expect((await device.tokenUpdate()).status).toBe(200);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 1, tally: 2 });
    expect((await device.report('Idle', undefined, {}, { identity: former })).status).toBe(200);
    const user = device.user({ UserID: 'U1' });
    const again = await renewed(device);
    expect((await user.tokenUpdate({}, { identity: again })).status).toBe(200);
  });

  it('may name the device by its serial number, which the device told at Authenticate', async () => {
    const device = await TestDevice.enrolled(server);
    device.identity = await issueIdentity(server.authority, { commonName: 'iPad', serialNumber: device.serialNumber });
    expect((await device.report('Idle')).status).toBe(200);
  });

  it('is refused when another authority issued it, or when it names another device', async () => {
    const [device, other] = [await TestDevice.enrolled(server), await TestDevice.enrolled(server)];
    const identities = [
      await issueIdentity(foreign.authority, { commonName: device.id }),
      await issueIdentity(server.authority, { commonName: other.id }),
      await issueIdentity(server.authority, { commonName: `${device.id}0` }),
    ];
    for (const identity of identities)
      expect((await device.report('Idle', undefined, {}, { identity })).status).toBe(403);
  });

  it('belongs to one device for ever', async () => {
    const [device, other] = [await TestDevice.enrolled(server), await TestDevice.make(server)];
    device.identity = await renewed(device);
    expect((await device.report('Idle')).status).toBe(200);
    expect((await other.authenticate({}, { identity: device.identity })).status).toBe(403);
  });
});

describe('nanomdm §10 #18, #96: associating at first contact (CERT_RETRO)', () => {
  it('binds the first certificate of a device that has none; never a second one, never one of another device', async () => {
    const retro = await startTestServer(test, { CERT_RETRO: '1', MIGRATION: '1', CA_FILE: foreign.file });
    try {
      const device = await TestDevice.make(retro);
      for (const message of ['Authenticate', 'TokenUpdate']) {
        const fields =
          message === 'TokenUpdate' ? { Topic: 'com.apple.mgmt.x', PushMagic: 'm', Token: Buffer.of(1) } : {};
        expect((await retro.admin('PUT', '/migration', device.messageOf(message, fields))).status).toBe(200);
      }
      expect((await device.tokenUpdate()).status).toBe(200);
      expect((await device.tokenUpdate()).status).toBe(200);
      const identity = await strange();
      // The reference: 500 "cert re-use not permitted".
      expect((await device.tokenUpdate({}, { identity })).status).toBe(403);
      const other = await TestDevice.make(retro, { identity: device.identity });
      await retro.admin('PUT', '/migration', other.messageOf('Authenticate'));
      expect((await other.report('Idle')).status).toBe(403);
      expect((await device.report('Idle')).status).toBe(200);
    } finally {
      await retro.close();
    }
  });

  it('does not enroll a device that never authenticated', async () => {
    const retro = await startTestServer(test, { CERT_RETRO: '1' });
    try {
      // The reference would accept this TokenUpdate from its certauth and then fail on a foreign key.
      const device = await TestDevice.make(retro);
      expect((await device.tokenUpdate()).status).toBe(403);
      expect(await readEnrollment(test.db, device.id)).toBeUndefined();
    } finally {
      await retro.close();
    }
  });
});

describe('nanomdm §10 #97: migration', () => {
  it('takes check-ins from an admin without a certificate, and nothing else', async () => {
    const source = await startTestServer(test, { MIGRATION: '1', CA_FILE: foreign.file });
    try {
      const device = await TestDevice.make(source, { authority: foreign.authority });
      const body = device.messageOf('Authenticate', { Topic: 't', SerialNumber: 'S' });
      const push = { Topic: 'com.apple.mgmt.x', PushMagic: 'm', Token: Buffer.of(1) };
      expect((await source.http.send('/migration', { method: 'PUT', body })).status).toBe(401);
      expect((await source.admin('PUT', '/migration', device.messageOf('TokenUpdate', push))).status).toBe(403);
      expect((await source.admin('PUT', '/migration', body)).status).toBe(200);
      expect((await source.admin('PUT', '/migration', device.messageOf('TokenUpdate', push))).status).toBe(200);
      const user = device.user({ UserID: 'U1' });
      expect((await source.admin('PUT', '/migration', user.messageOf('TokenUpdate', push))).status).toBe(200);
      expect((await source.admin('PUT', '/migration', device.reportOf('Idle'))).status).toBe(400);
      expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 1, tally: 1, pushMagic: 'm' });
      expect(await readEnrollment(test.db, user.id)).toMatchObject({ enabled: 1, tally: 1 });
      const row = await readEnrollment(test.db, device.id);
      expect(
        await test.db.rows('SELECT sha256 FROM certificate_associations WHERE enrollment_id = ?', [row?.id]),
      ).toEqual([]);
      expect((await device.report('Idle')).status).toBe(403);
    } finally {
      await source.close();
    }
  });

  it('a migrated device whose certificate is of our own authority and names it needs no CERT_RETRO', async () => {
    const source = await startTestServer(test, { MIGRATION: '1' });
    try {
      const device = await TestDevice.make(source);
      await source.admin('PUT', '/migration', device.messageOf('Authenticate'));
      device.identity = await issueIdentity(source.authority, { commonName: device.id });
      expect((await device.tokenUpdate()).status).toBe(200);
    } finally {
      await source.close();
    }
  });

  it('nanomdm §10 #60: is not there unless it was asked for', async () => {
    expect((await server.admin('PUT', '/migration', Buffer.of())).status).toBe(404);
  });
});

it('a certificate hash is kept with the certificate and its end', async () => {
  const device = await TestDevice.enrolled(server);
  const [row] = await test.db.rows<{ certificate: Buffer; notAfter: Date }>(
    'SELECT certificate, not_after AS notAfter FROM certificate_associations a JOIN enrollments e ON e.id = a.enrollment_id WHERE e.enrollment_id = ?',
    [device.id],
  );
  expect(row?.certificate.equals(device.identity.certificateDer)).toBe(true);
  expect(writePem('CERTIFICATE', device.identity.certificateDer)).toContain('BEGIN CERTIFICATE');
  expect(row?.notAfter.getTime()).toBeGreaterThan(Date.now());
});
