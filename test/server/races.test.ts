import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { runDoctor } from '../../db/doctor.ts';
import { associateCertificates } from '../../db/queries/channels.ts';
import { insertCommand } from '../../db/queries/enqueue-command.ts';
import { recordAuthenticates } from '../../db/queries/record-authenticates.ts';
import { recordReports } from '../../db/queries/record-reports.ts';
import { type Transaction, transaction } from '../../db/transaction.ts';
import { readCertificate } from '../../mdm/certificates/read-certificate.ts';
import { createGate, type Gate, waitUntilBlocked } from '../harness/core-fixture.ts';
import { countRows, readEnrollment, readQueue, readResults } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { commandUuidOf, enqueue, issueIdentity, makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
/** A second process on the same database. */
const second = useTestServer(test);
const viaSecond = (device: TestDevice): TestDevice =>
  new TestDevice(second, device.ids, device.identity, device.serialNumber);

/** Another process that has done `work` and stands before its COMMIT, or its ROLLBACK. */
function heldBeforeCommit(
  work: (t: Transaction) => Promise<unknown>,
  isRolledBack = false,
): { gate: Gate; ended: Promise<void> } {
  const gate = createGate();
  const ended = transaction(test.db, async (t) => {
    await work(t);
    await gate.hold();
    if (isRolledBack) throw new Error('second thoughts');
  });
  return { gate, ended };
}

const internalId = async (device: TestDevice): Promise<number> => (await readEnrollment(test.db, device.id))?.id ?? 0;

const queueing = (uuid: string, enrollmentId: number) => (t: Transaction) =>
  insertCommand(
    t,
    test.db.secrets,
    {
      commandUuid: uuid,
      requestType: 'X',
      renewsEnrollment: false,
      priority: 0,
      origin: 'api',
      originId: undefined,
      body: makeCommand(uuid, 'X'),
    },
    [enrollmentId],
  );

function authenticating(device: TestDevice) {
  const certificate = readCertificate(device.identity.certificateDer);
  if (!certificate.ok) throw certificate.error;
  const { sha256, der, notAfter } = certificate.value;
  const nothing = {
    serialNumber: undefined,
    deviceName: undefined,
    model: undefined,
    modelName: undefined,
    productName: undefined,
    osVersion: undefined,
    buildVersion: undefined,
  };
  const row = {
    enrollmentKey: device.id.toLowerCase(),
    enrollmentId: device.id,
    type: 'Device' as const,
    udid: device.id,
    device: nothing,
    isRenewal: false,
    certificate: { sha256, der, notAfter },
    body: Buffer.of(),
  };
  return (t: Transaction) => recordAuthenticates(t, test.db.secrets, [row]);
}

const reporting =
  (device: TestDevice, enrollmentId: number, uuid: string, status = 'Acknowledged') =>
  (t: Transaction) =>
    recordReports(t, test.db.secrets, [
      {
        enrollmentId,
        hostId: enrollmentId,
        commandUuid: uuid,
        status,
        isFinal: status !== 'NotNow',
        body: device.reportOf(status, uuid),
      },
    ]);

describe('enqueue meets the Authenticate that clears the queue', () => {
  it('and commits while the clearing waits for it: the command is shown as cleared', async () => {
    const device = await TestDevice.enrolled(server);
    const uuid = randomUUID();
    const { gate, ended } = heldBeforeCommit(queueing(uuid, await internalId(device)));
    await gate.reached;
    const authenticate = device.authenticate();
    await waitUntilBlocked(test.db, 'command_queue');
    gate.open();
    await ended;
    expect((await authenticate).status).toBe(200);
    expect(await readQueue(test.db, device.id)).toEqual([]);
    expect(await readResults(test.db, device.id)).toMatchObject({ [uuid]: { isCleared: 1, hasEnded: 0 } });
  });

  it('and commits while the clearing is on its way: the command survives and is served', async () => {
    const device = await TestDevice.enrolled(server);
    const [old, young] = [randomUUID(), randomUUID()];
    await enqueue(server, device, old);
    const { gate, ended } = heldBeforeCommit(authenticating(device));
    await gate.reached;
    await enqueue(server, device, young);
    gate.open();
    await ended;
    expect(await device.next()).toBe(young);
    expect(await readResults(test.db, device.id)).toMatchObject({ [old]: { isCleared: 1 } });
  });

  it('in any order, many times: each command is waiting or shown as cleared, never lost', async () => {
    const device = await TestDevice.enrolled(server);
    const uuids = Array.from({ length: 40 }, () => randomUUID());
    await Promise.all(
      uuids.flatMap((uuid, index) => [
        enqueue(index % 2 === 0 ? server : second, device, uuid),
        ...(index % 5 === 0 ? [viaSecond(device).authenticate()] : []),
      ]),
    );
    const [queue, results] = [await readQueue(test.db, device.id), await readResults(test.db, device.id)];
    for (const uuid of uuids) expect([uuid, queue.includes(uuid)]).toEqual([uuid, results[uuid]?.isCleared !== 1]);
    expect(await runDoctor(test.db)).toEqual([]);
  });
});

describe('a report meets the Authenticate that clears the queue', () => {
  it('and is first: the command has its result and was not cleared', async () => {
    const device = await TestDevice.enrolled(server);
    const uuid = randomUUID();
    await enqueue(server, device, uuid);
    const { gate, ended } = heldBeforeCommit(reporting(device, await internalId(device), uuid));
    await gate.reached;
    const authenticate = device.authenticate();
    await waitUntilBlocked(test.db, 'command_queue');
    gate.open();
    await ended;
    expect((await authenticate).status).toBe(200);
    expect(await readResults(test.db, device.id)).toMatchObject({
      [uuid]: { status: 'Acknowledged', isCleared: 0, hasEnded: 1 },
    });
  });

  it.each(['Acknowledged', 'NotNow'])(
    'and is second with %s: it is kept, and the command is shown as cleared',
    async (status) => {
      const device = await TestDevice.enrolled(server);
      const uuid = randomUUID();
      await enqueue(server, device, uuid);
      const { gate, ended } = heldBeforeCommit(authenticating(device));
      await gate.reached;
      const report = device.report(status, uuid);
      await waitUntilBlocked(test.db, 'command_queue');
      gate.open();
      await ended;
      expect((await report).text).toBe('');
      expect(await readResults(test.db, device.id)).toMatchObject({ [uuid]: { status, isCleared: 1 } });
      expect(await readQueue(test.db, device.id)).toEqual([]);
    },
  );
});

describe('one certificate, two devices, at once', () => {
  it('one enrolls, the other is refused and leaves nothing', async () => {
    for (let round = 0; round < 8; round += 1) {
      const one = await TestDevice.make(server);
      const other = await TestDevice.make(round % 2 === 0 ? server : second, { identity: one.identity });
      const before = await countRows(test.db);
      const statuses = (await Promise.all([one.authenticate(), other.authenticate()])).map((reply) => reply.status);
      expect(statuses.toSorted()).toEqual([200, 403]);
      const after = await countRows(test.db);
      for (const table of ['hosts', 'enrollments', 'certificate_associations', 'check_ins'])
        expect((after[table] ?? 0) - (before[table] ?? 0)).toBe(1);
    }
  });

  it.each([
    ['commits', 403],
    ['is rolled back', 200],
  ])('the second one waits for the first, which %s: %i', async (end, status) => {
    const [one, other] = [await TestDevice.make(server), await TestDevice.make(server)];
    other.identity = one.identity;
    const { gate, ended } = heldBeforeCommit(authenticating(one), end === 'is rolled back');
    await gate.reached;
    const authenticate = other.authenticate();
    await waitUntilBlocked(test.db, 'certificate_associations');
    gate.open();
    await ended.catch(() => {});
    expect((await authenticate).status).toBe(status);
    expect((await readEnrollment(test.db, other.id)) !== undefined).toBe(status === 200);
  });

  it('a renewed certificate that names two devices: who is written first has it', async () => {
    const [one, other] = [await TestDevice.enrolled(server), await TestDevice.enrolled(server)];
    const identity = await issueIdentity(server.authority, { commonName: one.id, serialNumber: other.serialNumber });
    const certificate = readCertificate(identity.certificateDer);
    if (!certificate.ok) throw certificate.error;
    const { sha256, der, notAfter } = certificate.value;
    const deviceId = await internalId(one);
    const { gate, ended } = heldBeforeCommit((t) =>
      associateCertificates(t, [{ sha256, deviceId, certificate: der, notAfter }]),
    );
    await gate.reached;
    const idle = other.report('Idle', undefined, {}, { identity });
    await waitUntilBlocked(test.db, 'certificate_associations');
    gate.open();
    await ended;
    expect((await idle).status).toBe(403);
    expect((await one.report('Idle', undefined, {}, { identity })).status).toBe(200);
  });
});

describe('two processes on one database', () => {
  it('the same report to both: one result, and both are answered with the next command', async () => {
    for (let round = 0; round < 10; round += 1) {
      const device = await TestDevice.enrolled(server);
      const [uuid, next] = [randomUUID(), randomUUID()];
      await enqueue(server, device, makeCommand(uuid, 'DeviceInformation'), next);
      const body = device.reportOf('Acknowledged', uuid, { QueryResponses: { DeviceName: 'x' } });
      const replies = await Promise.all([device.put(body), viaSecond(device).put(body), device.put(body)]);
      expect(replies.map(commandUuidOf)).toEqual([next, next, next]);
      expect(Object.keys(await readResults(test.db, device.id))).toEqual([uuid]);
    }
    expect(await runDoctor(test.db)).toEqual([]);
  });

  it('contradicting reports to both: one of them counts, whole', async () => {
    const device = await TestDevice.enrolled(server);
    const uuid = randomUUID();
    await enqueue(server, device, uuid);
    const bodies = ['Acknowledged', 'Error'].map((status) => device.reportOf(status, uuid, { Says: status }));
    await Promise.all(bodies.map((body, index) => (index === 0 ? device : viaSecond(device)).put(body)));
    const result = (await readResults(test.db, device.id))[uuid];
    expect(result?.body?.toString()).toContain(`<string>${result?.status}</string>`);
  });

  it('what one has learnt the other sees: enrolling, checking out, renewed queues', async () => {
    const device = await TestDevice.enrolled(server);
    expect(await viaSecond(device).next()).toBeUndefined();
    await enqueue(second, device, 'via-second');
    expect(await device.next()).toBe('via-second');
    await viaSecond(device).enroll();
    expect(await device.next()).toBeUndefined();
    await viaSecond(device).checkIn('CheckOut');
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 0 });
  });

  it('TokenUpdates of one channel at both: each is counted', async () => {
    const device = await TestDevice.enrolled(server);
    await Promise.all(
      Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? device : viaSecond(device)).tokenUpdate()),
    );
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ tally: 21, enabled: 1 });
  });

  it('nanomdm §10 #57: the same CommandUUID queued at both: one is accepted, one row per id', async () => {
    const device = await TestDevice.enrolled(server);
    for (let round = 0; round < 10; round += 1) {
      const uuid = randomUUID();
      const put = (to: typeof server) => to.admin('PUT', `/v1/enqueue/${device.id}?nopush=1`, makeCommand(uuid));
      expect((await Promise.all([put(server), put(second)])).map((reply) => reply.status).toSorted()).toEqual([
        200, 409,
      ]);
      expect((await readQueue(test.db, device.id)).filter((queued) => queued === uuid)).toEqual([uuid]);
    }
  });
});
