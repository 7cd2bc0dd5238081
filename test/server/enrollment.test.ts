import { describe, expect, it } from 'vitest';
import { readCheckInBody, readDeviceSecret } from '../../db/queries/check-ins.ts';
import { readPlist } from '../../mdm/plist/read-plist.ts';
import { countRows, readEnrollment, readQueue, readResults } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, issueIdentity, TestDevice, TOPIC } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
const bootstrapTokenOf = async (device: TestDevice): Promise<Buffer | undefined> => {
  const reply = await device.checkIn('GetBootstrapToken');
  expect(reply.status).toBe(200);
  if (reply.body.length === 0) return undefined;
  const plist = readPlist(reply.body);
  const token =
    plist.ok && typeof plist.value === 'object' && 'BootstrapToken' in plist.value && plist.value.BootstrapToken;
  return Buffer.isBuffer(token) ? token : undefined;
};
const secretOf = async (device: TestDevice, secret: 'unlock_token' | 'bootstrap_token') =>
  readDeviceSecret(test.db, test.db.secrets, (await readEnrollment(test.db, device.id))?.id ?? 0, secret);

describe('the life of an enrollment', () => {
  it('nanomdm §10 #33, #34: Authenticate, then TokenUpdate: push data, and a tally that counts', async () => {
    const device = await TestDevice.make(server);
    expect((await device.authenticate()).status).toBe(200);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 0, tally: 0, topic: null });
    expect((await device.tokenUpdate()).status).toBe(200);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({
      type: 'Device',
      enabled: 1,
      tally: 1,
      topic: TOPIC,
      pushMagic: device.pushMagic,
      token: device.token.toString('hex'),
      serialNumber: device.serialNumber,
    });
    expect((await device.tokenUpdate({ PushMagic: 'another' })).status).toBe(200);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ tally: 2, pushMagic: 'another' });
  });

  it('nanomdm §10 #2, #3: the raw bytes of the messages are kept', async () => {
    const device = await TestDevice.enrolled(server);
    const row = await readEnrollment(test.db, device.id);
    const authenticate = device.messageOf('Authenticate', { Topic: TOPIC, SerialNumber: device.serialNumber });
    expect(await readCheckInBody(test.db, test.db.secrets, row?.id ?? 0, 'Authenticate')).toEqual(authenticate);
    const sealed = await test.db.rows<{ body: Buffer }>(
      'SELECT body_sealed AS body FROM check_ins WHERE enrollment_id = ?',
      [row?.id],
    );
    expect(sealed.some(({ body }) => body.includes(device.pushMagic))).toBe(false);
  });

  it('nanomdm §10 #35, #36, #78: bootstrap tokens, and enrolling again', async () => {
    const device = await TestDevice.enrolled(server);
    for (const token of [Buffer.from('hello world'), Buffer.from([0, 255, 13, 10])]) {
      expect(await bootstrapTokenOf(device)).toBeUndefined();
      expect((await device.checkIn('SetBootstrapToken', { BootstrapToken: token })).status).toBe(200);
      expect(await bootstrapTokenOf(device)).toEqual(token);
      const reply = await device.checkIn('GetBootstrapToken');
      expect(reply.headers['content-type']).toBe('text/xml; charset=utf-8');
      expect(reply.text).toMatch(
        /^<\?xml .*<plist version="1\.0"><dict><key>BootstrapToken<\/key><data>[^\n]*<\/dict><\/plist>\n$/s,
      );
      await device.enroll();
      expect(await readEnrollment(test.db, device.id)).toMatchObject({ tally: 1, enabled: 1 });
    }
  });

  it('an empty or missing bootstrap token forgets the one that was set (apple-protocols §1.5)', async () => {
    const device = await TestDevice.enrolled(server);
    for (const fields of [{}, { BootstrapToken: Buffer.of() }]) {
      await device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.from('x') });
      expect((await device.checkIn('SetBootstrapToken', fields)).status).toBe(200);
      expect(await bootstrapTokenOf(device)).toBeUndefined();
    }
  });

  it('bootstrap tokens may come before the first TokenUpdate (apple-protocols §1.5)', async () => {
    const device = await TestDevice.make(server);
    await device.authenticate();
    expect((await device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.from('early') })).status).toBe(200);
    await device.tokenUpdate();
    expect(await bootstrapTokenOf(device)).toEqual(Buffer.from('early'));
  });

  it('an unlock token is kept until another comes, and forgotten when the device enrolls again (nanomdm §14.3 #12)', async () => {
    const device = await TestDevice.enrolled(server);
    await device.tokenUpdate({ UnlockToken: Buffer.from('first') });
    await device.tokenUpdate();
    expect(await secretOf(device, 'unlock_token')).toEqual(Buffer.from('first'));
    await device.tokenUpdate({ UnlockToken: Buffer.from('second') });
    expect(await secretOf(device, 'unlock_token')).toEqual(Buffer.from('second'));
    await device.authenticate();
    expect(await secretOf(device, 'unlock_token')).toBeUndefined();
  });

  it('nanomdm §10 #90: after CheckOut queued commands are still served; TokenUpdate enables again', async () => {
    const device = await TestDevice.enrolled(server);
    const user = device.user({ UserID: 'U1' });
    await user.tokenUpdate();
    await enqueue(server, device, 'after-checkout');
    expect((await device.checkIn('CheckOut')).status).toBe(200);
    for (const { id } of [device, user])
      expect(await readEnrollment(test.db, id)).toMatchObject({ enabled: 0, tally: 0 });
    expect(await device.next()).toBe('after-checkout');
    expect((await device.tokenUpdate()).status).toBe(200);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 1, tally: 1 });
    expect(await readEnrollment(test.db, user.id)).toMatchObject({ enabled: 0, tally: 0 });
  });

  it("nanomdm §10 #90: enrolling again clears what is pending, user channels' too; what was answered stays", async () => {
    const device = await TestDevice.enrolled(server);
    const user = device.user({ UserID: 'U1' });
    await user.tokenUpdate();
    await enqueue(server, device, 're-answered', 're-put-off', 're-pending');
    await enqueue(server, user, 're-user');
    await device.next('Acknowledged', 're-answered');
    await device.next('NotNow', 're-put-off');
    expect((await device.authenticate()).status).toBe(200);
    expect(await readQueue(test.db, device.id)).toEqual([]);
    expect(await readQueue(test.db, user.id)).toEqual([]);
    expect(await readResults(test.db, device.id)).toMatchObject({
      're-answered': { status: 'Acknowledged', hasEnded: 1, isCleared: 0 },
      're-put-off': { status: 'NotNow', hasEnded: 0, isCleared: 1 },
      're-pending': { status: null, hasEnded: 0, isCleared: 1 },
    });
    expect(await readResults(test.db, user.id)).toMatchObject({ 're-user': { isCleared: 1 } });
    expect(await readEnrollment(test.db, user.id)).toMatchObject({ enabled: 0, tally: 0 });
    await user.tokenUpdate();
    expect(await readEnrollment(test.db, user.id)).toMatchObject({ enabled: 1, tally: 1 });
  });

  it('nanomdm §10 #91, #75: a device that never authenticated is refused, whatever it says, and leaves nothing', async () => {
    const device = await TestDevice.make(server);
    const before = await countRows(test.db);
    // The reference: 500; refusing a stranger is a 403 here (docs/architecture.md). Never 401, which would unenroll.
    for (const reply of [
      await device.report('Idle'),
      await device.report('Acknowledged', 'x'),
      await device.tokenUpdate(),
      await device.checkIn('CheckOut'),
      await device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.of(1) }),
      await device.checkIn('GetBootstrapToken'),
      await device.checkIn('UserAuthenticate'),
    ])
      expect([reply.status, reply.text]).toEqual([403, 'Forbidden\n']);
    expect(await countRows(test.db)).toEqual(before);
  });

  it('nanomdm §10 #103: an id in other letters is the same enrollment; the first spelling is kept', async () => {
    const device = await TestDevice.enrolled(server, { ids: { UDID: 'AbCd-103' } });
    const other = new TestDevice(server, { UDID: 'aBcD-103' }, device.identity, 'x');
    await enqueue(server, other, 'case-1');
    expect(await device.next()).toBe('case-1');
    expect(await other.next('Acknowledged', 'case-1')).toBeUndefined();
    expect(await readEnrollment(test.db, 'ABCD-103')).toMatchObject({ enrollmentId: 'AbCd-103' });
  });

  it('ids that differ only in accents or in letters beyond ASCII are different enrollments', async () => {
    const [plain, accented] = [
      await TestDevice.enrolled(server, { ids: { UDID: 'cafe' } }),
      await TestDevice.enrolled(server, { ids: { UDID: 'café' } }),
    ];
    const upper = await TestDevice.enrolled(server, { ids: { UDID: 'CAFÉ' } });
    const rows = await Promise.all([plain, accented, upper].map((device) => readEnrollment(test.db, device.id)));
    expect(new Set(rows.map((row) => row?.id)).size).toBe(3);
  });

  it.each(['trailing blank ', 'D1;', 'D1\u00a0', '__proto__', 'a/b', '%2C', '\u202eD1', '\u{1d49f}1'])(
    'the id %j is one enrollment of its own or refused, never mixed up with another or answered 500',
    async (udid) => {
      const neighbour = await TestDevice.enrolled(server, {
        ids: { UDID: udid.trim() === udid ? `${udid}x` : udid.trim() },
      });
      const before = await readEnrollment(test.db, neighbour.id);
      const device = await TestDevice.make(server, { ids: { UDID: udid } });
      const { status } = await device.authenticate();
      expect([200, 400]).toContain(status);
      if (status === 200) {
        expect((await device.tokenUpdate()).status).toBe(200);
        expect(await readEnrollment(test.db, udid)).toMatchObject({ enrollmentId: udid, tally: 1 });
        expect(await device.next()).toBeUndefined();
      }
      expect(await readEnrollment(test.db, neighbour.id)).toEqual(before);
    },
  );

  it('what a device says of itself is kept, cut to what can be stored', async () => {
    const device = await TestDevice.make(server);
    const { status } = await device.authenticate({
      DeviceName: '\u{1d49f}'.repeat(300),
      Model: 'M'.repeat(5_000),
      SerialNumber: '',
    });
    expect(status).toBe(200);
    const [host] = await test.db.rows<{ name: string; model: string; serial: string | null }>(
      'SELECT device_name AS name, model, serial_number AS serial FROM hosts WHERE host_key = ?',
      [device.id.toLowerCase()],
    );
    expect(host?.name).toMatch(/^(?:\u{1d49f}){100}/u);
    expect(host).toMatchObject({ model: 'M'.repeat(127), serial: null });
  });
});

describe('kinds of enrollments', () => {
  it('nanomdm §10 #7, #81, #82: types and ids of all channels', async () => {
    const device = await TestDevice.enrolled(server);
    const user = device.user({ UserID: 'U1', UserShortName: 'ada' });
    const onSharedIpad = device.user({
      UserID: 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF',
      UserShortName: 'ada@example.org',
    });
    const byod = await TestDevice.enrolled(server, { ids: { EnrollmentID: 'E-82' } });
    const byodUser = byod.user({ EnrollmentUserID: 'EU-82' });
    for (const channel of [user, onSharedIpad, byodUser]) expect((await channel.tokenUpdate()).status).toBe(200);
    const rowOf = (id: string) => readEnrollment(test.db, id);
    expect(await rowOf(`${device.id}:U1`)).toMatchObject({
      type: 'User',
      isDevice: 0,
      hostKey: device.id.toLowerCase(),
    });
    expect(await rowOf(`${device.id}:ada@example.org`)).toMatchObject({ type: 'Shared iPad', isDevice: 0, enabled: 1 });
    expect(await rowOf('E-82')).toMatchObject({ type: 'User Enrollment (Device)', isDevice: 1 });
    expect(await rowOf('E-82:EU-82')).toMatchObject({ type: 'User Enrollment', isDevice: 0, hostKey: 'e-82' });
  });

  it('nanomdm §10 #80: with both ids the UDID counts', async () => {
    const device = await TestDevice.make(server, { ids: { UDID: 'U-80', EnrollmentID: 'E-80' } });
    await device.enroll();
    expect(await readEnrollment(test.db, 'U-80')).toMatchObject({ type: 'Device' });
    expect(await readEnrollment(test.db, 'E-80')).toBeUndefined();
  });

  it('nanomdm §10 #81: a user channel neither checks out nor authenticates nor has a bootstrap token', async () => {
    const device = await TestDevice.enrolled(server);
    const user = device.user({ UserID: 'U1' });
    await user.tokenUpdate({ UnlockToken: Buffer.from('not of a user') });
    // The reference: 500 for both.
    expect((await user.checkIn('CheckOut')).status).toBe(400);
    expect((await user.authenticate()).status).toBe(400);
    expect((await user.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.of(1) })).status).toBe(200);
    expect(await bootstrapTokenOf(user)).toBeUndefined();
    expect(await bootstrapTokenOf(device)).toBeUndefined();
    expect(await secretOf(user, 'unlock_token')).toBeUndefined();
    for (const { id } of [device, user])
      expect(await readEnrollment(test.db, id)).toMatchObject({ enabled: 1, tally: 1 });
  });

  it('nanomdm §10 #91: an unknown user of a known device: Idle is 200 empty, a result is refused', async () => {
    const device = await TestDevice.enrolled(server);
    const stranger = device.user({ UserID: 'nobody' });
    const before = await countRows(test.db);
    expect((await stranger.report('Idle')).text).toBe('');
    // The reference: 500.
    expect((await stranger.report('Acknowledged', 'x')).status).toBe(403);
    expect(await countRows(test.db)).toEqual(before);
  });

  it('a user channel of a device with another certificate is refused', async () => {
    const device = await TestDevice.enrolled(server);
    const user = device.user({ UserID: 'U1' });
    const identity = await issueIdentity(server.authority, { commonName: 'somebody' });
    expect((await user.tokenUpdate({}, { identity })).status).toBe(403);
    expect(await readEnrollment(test.db, user.id)).toBeUndefined();
  });
});
