import { beforeAll, describe, expect, it } from 'vitest';
import { insertCommand } from '../../db/queries/enqueue-command.ts';
import { transaction } from '../../db/transaction.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
let devices: TestDevice[];

beforeAll(async () => {
  devices = await Promise.all(Array.from({ length: 8 }, () => TestDevice.enrolled(server)));
});

const put = (uuid: string, ...ids: string[]) =>
  server.admin('PUT', `/v1/enqueue/${ids.join(',')}?nopush=1`, makeCommand(uuid));

it('a command for more enrollments than fit one statement reaches them all under one id', async () => {
  const ids = Array.from({ length: 12_000 }, (_, index) => index + 1_000);
  const command = {
    commandUuid: 'many',
    requestType: 'X',
    renewsEnrollment: false,
    priority: 50,
    origin: 'api',
    originId: undefined,
    body: makeCommand('many', 'X'),
  } as const;
  const id = await transaction(test.db, (t) => insertCommand(t, test.db.secrets, command, ids));
  const counts = await test.db.rows(
    'SELECT command_id AS id, urgency, CAST(COUNT(*) AS DOUBLE) AS queued FROM command_queue GROUP BY command_id, urgency',
  );
  expect(counts).toEqual([{ id, urgency: -50, queued: 12_000 }]);
  await test.db.run('DELETE FROM command_queue');
});

describe('calls that meet in one batch', () => {
  it('are each answered for themselves: one that names a stranger, or a CommandUUID that exists, harms no other', async () => {
    const ids = devices.map((device) => device.id);
    await put('exists', ids[0] ?? '');
    const replies = await Promise.all([
      ...ids.map((id, index) => put(`together-${index}`, id)),
      put('stranger', 'nobody', ids[0] ?? ''),
      put('exists', ids[1] ?? ''),
    ]);
    expect(replies.map((reply) => reply.status)).toEqual([...ids.map(() => 200), 404, 409]);
    for (const [index, device] of devices.entries()) {
      if (index === 0) await device.next('Acknowledged', 'exists');
      expect(await device.next()).toBe(`together-${index}`);
      expect(await device.next('Acknowledged', `together-${index}`)).toBeUndefined();
    }
  });

  it('with one CommandUUID queue it once', async () => {
    const [device] = devices;
    const replies = await Promise.all(Array.from({ length: 5 }, () => put('same', device?.id ?? '')));
    expect(replies.map((reply) => reply.status).sort()).toEqual([200, 409, 409, 409, 409]);
    expect(await device?.next()).toBe('same');
    expect(await device?.next('Acknowledged', 'same')).toBeUndefined();
  });

  it('reach one device in the order in which they were answered', async () => {
    const [device] = devices;
    const answered: string[] = [];
    const uuids = Array.from({ length: 12 }, (_, index) => `order-${index}`);
    await Promise.all(uuids.map((uuid) => put(uuid, device?.id ?? '').then(() => answered.push(uuid))));
    const left: string[] = [];
    for (let uuid = await device?.next(); uuid !== undefined; uuid = await device?.next('Acknowledged', uuid))
      left.push(uuid);
    expect(left).toEqual(answered);
  });
});
