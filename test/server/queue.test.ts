import { describe, expect, it } from 'vitest';
import { readQueue, readResults } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
let serial = 0;
/** CommandUUIDs are unique in a database: each test takes a prefix of its own. */
const name = (): ((label: string) => string) => {
  serial += 1;
  const prefix = `t${serial}-`;
  return (label) => `${prefix}${label}`;
};

describe('the command queue of an enrollment', () => {
  it('nanomdm §10 #38: commands leave one by one, each after the answer to the one before', async () => {
    const device = await TestDevice.enrolled(server);
    const n = name();
    expect(await device.next()).toBeUndefined();
    await enqueue(server, device, n('CMD1'), n('CMD2'));
    expect(await device.next()).toBe(n('CMD1'));
    expect(await device.next('Acknowledged', n('CMD1'))).toBe(n('CMD2'));
    expect(await device.next('Acknowledged', n('CMD2'))).toBeUndefined();
    expect(await device.next()).toBeUndefined();
  });

  it('nanomdm §10 #39: what was put off is served again at the next Idle', async () => {
    const device = await TestDevice.enrolled(server);
    const n = name();
    await enqueue(server, device, n('CMD3'));
    expect(await device.next()).toBe(n('CMD3'));
    expect(await device.next('NotNow', n('CMD3'))).toBeUndefined();
    expect(await device.next()).toBe(n('CMD3'));
    expect(await device.next('Acknowledged', n('CMD3'))).toBeUndefined();
    expect(await device.next()).toBeUndefined();
  });

  it('nanomdm §10 #37, #40: an Authenticate clears the queue, empty or not', async () => {
    const device = await TestDevice.enrolled(server);
    const n = name();
    await device.enroll();
    await enqueue(server, device, n('CMD4'));
    await device.enroll();
    expect(await device.next()).toBeUndefined();
    expect(await readResults(test.db, device.id)).toMatchObject({ [n('CMD4')]: { isCleared: 1, hasEnded: 0 } });
  });

  it('nanomdm §10 #87: NotNow exactly as the reference, step by step', async () => {
    const device = await TestDevice.enrolled(server);
    const n = name();
    const step = async (status: string, label?: string): Promise<string | undefined> => {
      const uuid = await device.next(status, label === undefined ? undefined : n(label));
      return uuid?.slice(n('').length);
    };
    await enqueue(server, device, n('CMD1'), n('CMD2'), n('CMD3'));
    expect(await step('Idle')).toBe('CMD1');
    expect(await step('NotNow', 'CMD1')).toBe('CMD2');
    expect(await step('NotNow', 'CMD2')).toBe('CMD3');
    expect(await step('NotNow', 'CMD3')).toBeUndefined();
    expect(await step('Idle')).toBe('CMD1');
    expect(await step('Error', 'CMD1')).toBe('CMD2');
    expect(await step('NotNow', 'CMD2')).toBeUndefined();
    expect(await step('Idle')).toBe('CMD2');
    expect(await step('Acknowledged', 'CMD2')).toBe('CMD3');
    expect(await step('CommandFormatError', 'CMD3')).toBeUndefined();
    expect(await step('Idle')).toBeUndefined();
    // The reference revives CMD1 here (a late NotNow overwrites) and serves it at the next Idle. A final result is final (DESIGN, invariant 5).
    expect(await step('NotNow', 'CMD1')).toBeUndefined();
    expect(await step('Idle')).toBeUndefined();
    // So the tally of CMD1 is 1, not the reference's 2.
    expect(await readResults(test.db, device.id)).toMatchObject({
      [n('CMD1')]: { status: 'Error', notNowTally: 1, hasNotNowAt: 1 },
      [n('CMD2')]: { status: 'Acknowledged', notNowTally: 2, hasNotNowAt: 1 },
      [n('CMD3')]: { status: 'CommandFormatError', notNowTally: 1, hasNotNowAt: 1 },
    });
  });

  it('nanomdm §2.3: a command is served at each Idle until it is answered, and keeps its place after NotNow', async () => {
    const device = await TestDevice.enrolled(server);
    const n = name();
    await enqueue(server, device, n('old'), n('new'));
    expect(await device.next()).toBe(n('old'));
    expect(await device.next()).toBe(n('old'));
    expect(await device.next('NotNow', n('old'))).toBe(n('new'));
    expect(await device.next()).toBe(n('old'));
    expect(await readQueue(test.db, device.id)).toEqual([n('old'), n('new')]);
  });

  it('commands leave in the order in which they were queued, whatever their UUIDs (nanomdm §14.3 #2)', async () => {
    const device = await TestDevice.enrolled(server);
    const n = name();
    const order = ['b', 'a', 'D', 'c'].map(n);
    await enqueue(server, device, ...order);
    const served: (string | undefined)[] = [await device.next()];
    for (const uuid of order) served.push(await device.next('Acknowledged', uuid));
    expect(served).toEqual([...order, undefined]);
  });

  it('nanomdm §10 #68, user channels: each channel has its own queue and is served the same bytes', async () => {
    const device = await TestDevice.enrolled(server);
    const user = device.user({ UserID: 'U1', UserShortName: 'ada' });
    expect((await user.tokenUpdate()).status).toBe(200);
    const n = name();
    await enqueue(server, [device, user], n('both'));
    await enqueue(server, user, n('user only'));
    const [first, second] = [await device.report('Idle'), await user.report('Idle')];
    expect(first.body.equals(second.body)).toBe(true);
    expect(await device.next('Acknowledged', n('both'))).toBeUndefined();
    expect(await user.next()).toBe(n('both'));
    expect(await user.next('Acknowledged', n('both'))).toBe(n('user only'));
  });
});
