import { describe, expect, it } from 'vitest';
import { runDoctor } from '../../db/doctor.ts';
import { countRows, readEnrollment, readQueue, readResults } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { CHECK_IN_TYPE, commandUuidOf, enqueue, makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';
import { writeBinaryPlist } from '../harness/write-binary-plist.ts';

const test = useTestDatabase();
const server = useTestServer(test);

describe('reports of commands that nobody knows', () => {
  it('nanomdm §10 #54, #88: are logged and answered with the next command; nothing else changes', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, 'next-54');
    const before = await countRows(test.db);
    // The reference: 500 for all of these, and the device stalls (Fleet #20367).
    for (const [status, uuid] of [
      ['Acknowledged', 'unknown-54'],
      ['NotNow', 'unknown-54'],
      ['Error', ''],
      ['Acknowledged', undefined],
      ['Acknowledged', 'next-54 '],
      ['Acknowledged', 'NEXT-54'],
      ['Acknowledged', 'x'.repeat(100_000)],
      ['Acknowledged', "'; DROP TABLE commands; --"],
    ] as const)
      expect(await device.next(status, uuid)).toBe('next-54');
    expect(await countRows(test.db)).toEqual(before);
    expect(server.log.filter(({ event }) => event === 'command.unknown')).toHaveLength(8);
  });

  it('nanomdm §2.2: a CommandUUID sent with Idle is ignored', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, 'idle-uuid');
    expect(await device.next('Idle', 'idle-uuid')).toBe('idle-uuid');
    expect(await readResults(test.db, device.id)).toEqual({});
  });

  it("nanomdm §2.5: a command that was queued for others only: the result is kept, the others' queue untouched", async () => {
    const [device, other] = [await TestDevice.enrolled(server), await TestDevice.enrolled(server)];
    await enqueue(server, other, 'of-another');
    expect(await device.next('Acknowledged', 'of-another')).toBeUndefined();
    expect(await readResults(test.db, device.id)).toMatchObject({ 'of-another': { status: 'Acknowledged' } });
    expect(await other.next()).toBe('of-another');
  });
});

describe('what a report does to its command', () => {
  it.each(['Acknowledged', 'Error', 'CommandFormatError', 'Foo', 'S'.repeat(31), '​é', 'idle', 'NOTNOW'])(
    'nanomdm §10 #89: %s ends it',
    async (status) => {
      const device = await TestDevice.enrolled(server);
      const [first, second] = [`1-${device.id}`, `2-${device.id}`];
      await enqueue(server, device, first, second);
      expect(await device.next(status, first)).toBe(second);
      expect(await readResults(test.db, device.id)).toMatchObject({ [first]: { status, hasEnded: 1 } });
      expect(await readQueue(test.db, device.id)).toEqual([second]);
    },
  );

  it('nanomdm §10 #6: the raw bytes are kept, sealed, with every key that the device sent', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, makeCommand('information', 'DeviceInformation'));
    const body = device.reportOf('Acknowledged', 'information', { QueryResponses: { Secret: 'of-the-device' } });
    expect((await device.put(body)).status).toBe(200);
    const { information } = await readResults(test.db, device.id);
    expect(information?.body?.equals(body)).toBe(true);
    const [row] = await test.db.rows<{ sealed: Buffer }>(
      'SELECT r.body_sealed AS sealed FROM command_results r JOIN commands c ON c.id = r.command_id WHERE c.command_uuid = ?',
      ['information'],
    );
    expect(row?.sealed.includes('of-the-device')).toBe(false);
  });

  it('nanomdm §10 #92: a second, later or contradicting result changes nothing (DESIGN, invariant 5)', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, 'final', 'behind');
    const first = device.reportOf('Acknowledged', 'final', { Answer: 1 });
    expect(commandUuidOf(await device.put(first))).toBe('behind');
    const expected = await readResults(test.db, device.id);
    // The reference: NotNow overwrites and the command is served again.
    for (const [status, fields] of [
      ['Acknowledged', { Answer: 1 }],
      ['Acknowledged', { Answer: 2 }],
      ['Error', {}],
      ['NotNow', {}],
    ] as const)
      expect(commandUuidOf(await device.put(device.reportOf(status, 'final', fields)))).toBe('behind');
    expect(await readResults(test.db, device.id)).toEqual(expected);
    expect(expected.final?.body?.equals(first)).toBe(true);
  });

  it('nanomdm §2.2: NotNow counts, keeps its first time, and a final result keeps both', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, 'put-off');
    const timeOf = async () =>
      (
        await test.db.rows<{ at: Date }>(
          'SELECT not_now_at AS at FROM command_results r JOIN commands c ON c.id = r.command_id WHERE c.command_uuid = ?',
          ['put-off'],
        )
      )[0]?.at;
    await device.next('NotNow', 'put-off');
    const first = await timeOf();
    await device.next('NotNow', 'put-off');
    await device.next('NotNow', 'put-off');
    await device.next('Error', 'put-off');
    expect(await readResults(test.db, device.id)).toMatchObject({
      'put-off': { status: 'Error', notNowTally: 3, hasNotNowAt: 1 },
    });
    expect(await timeOf()).toEqual(first);
  });

  it('a result after the queue was cleared is kept, and the command is shown as cleared', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, 'cleared-done', 'cleared-put-off', 'cleared-silent');
    await device.next();
    await device.enroll();
    const late = device.reportOf('Acknowledged', 'cleared-done', { Late: true });
    expect((await device.put(late)).text).toBe('');
    expect(await device.next('NotNow', 'cleared-put-off')).toBeUndefined();
    const results = await readResults(test.db, device.id);
    expect(results).toMatchObject({
      'cleared-done': { status: 'Acknowledged', hasEnded: 1, isCleared: 1 },
      'cleared-put-off': { status: 'NotNow', hasEnded: 0, isCleared: 1 },
      'cleared-silent': { status: null, isCleared: 1 },
    });
    expect(results['cleared-done']?.body?.equals(late)).toBe(true);
    expect(await device.next()).toBeUndefined();
    expect(await runDoctor(test.db)).toEqual([]);
  });

  it('nanomdm §2.5: a device between Authenticate and TokenUpdate may report', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, 'in-between');
    await device.authenticate();
    expect(await device.next()).toBeUndefined();
    expect(await device.next('Acknowledged', 'in-between')).toBeUndefined();
    expect(await readResults(test.db, device.id)).toMatchObject({
      'in-between': { status: 'Acknowledged', isCleared: 1 },
    });
  });

  it('a report that somebody consumes is owed to its host, once, also when it is told twice', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, makeCommand('inventory', 'DeviceInformation'), makeCommand('other', 'ProfileList'));
    const row = await readEnrollment(test.db, device.id);
    const [host] = await test.db.rows<{ id: number }>('SELECT host_id AS id FROM enrollments WHERE id = ?', [row?.id]);
    const owed = () =>
      test.db.rows("SELECT `key` FROM outbox WHERE kind = 'report.process' AND `key` = ?", [String(host?.id)]);
    await device.next('NotNow', 'inventory');
    await device.next('Acknowledged', 'other');
    expect(await owed()).toEqual([]);
    await device.next('Acknowledged', 'inventory');
    await device.next('Acknowledged', 'inventory');
    expect(await owed()).toHaveLength(1);
  });
});

describe('nanomdm §10 #102: binary property lists', () => {
  it('are taken wherever XML is, and kept as they are', async () => {
    const device = await TestDevice.make(server);
    const { id } = device;
    const checkIn = (fields: Record<string, string | Buffer>) =>
      device.put(writeBinaryPlist({ UDID: id, ...fields }), { contentType: CHECK_IN_TYPE });
    // The reference: 500 for all but Idle, because its columns are text.
    expect((await checkIn({ MessageType: 'Authenticate', Topic: 't' })).status).toBe(200);
    expect(
      (await checkIn({ MessageType: 'TokenUpdate', Topic: 't', PushMagic: 'm', Token: Buffer.of(1, 2) })).status,
    ).toBe(200);
    await enqueue(server, device, 'binary');
    expect(commandUuidOf(await device.put(writeBinaryPlist({ UDID: id, Status: 'Idle' })))).toBe('binary');
    const report = writeBinaryPlist({ UDID: id, Status: 'Acknowledged', CommandUUID: 'binary' });
    expect((await device.put(report)).status).toBe(200);
    expect((await readResults(test.db, id)).binary?.body?.equals(report)).toBe(true);
  });

  it('a lone surrogate in an id is refused or stored as one enrollment, never mixed with another', async () => {
    const device = await TestDevice.make(server);
    const before = await countRows(test.db);
    const body = writeBinaryPlist({ MessageType: 'Authenticate', UDID: 'D\ud800' });
    expect((await device.put(body, { contentType: CHECK_IN_TYPE })).status).toBe(400);
    expect(await countRows(test.db)).toEqual(before);
  });
});

describe('large reports', () => {
  it('a report of some megabytes is kept whole', async () => {
    const device = await TestDevice.enrolled(server);
    await enqueue(server, device, 'large');
    const body = device.reportOf('Acknowledged', 'large', { InstalledApplicationList: ['x'.repeat(8 * 1024 * 1024)] });
    expect((await device.put(body)).status).toBe(200);
    expect((await readResults(test.db, device.id)).large?.body?.equals(body)).toBe(true);
  });

  it('many that meet in one batch harm nobody: each is kept, however large the statement would be', async () => {
    const devices = await Promise.all(Array.from({ length: 12 }, () => TestDevice.enrolled(server)));
    await enqueue(server, devices, 'large-for-all');
    const body = Buffer.alloc(6 * 1024 * 1024, 'x');
    const rows = await Promise.all(
      devices.map(async ({ id }) => ({ id, enrollmentId: (await readEnrollment(test.db, id))?.id ?? 0 })),
    );
    const known = await Promise.all(
      rows.map(({ enrollmentId }) =>
        server.device.store.recordReport({
          enrollmentId,
          hostId: 1,
          commandUuid: 'large-for-all',
          status: 'Acknowledged',
          isFinal: true,
          body,
        }),
      ),
    );
    expect(known).toEqual(devices.map(() => true));
    for (const { id } of rows)
      expect((await readResults(test.db, id))['large-for-all']?.body?.length).toBe(body.length);
  });
});
