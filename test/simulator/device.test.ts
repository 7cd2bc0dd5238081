import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeMdmServer } from './fake-mdm-server.ts';
import { makeTestDevice, TEST_TOPIC, type TestDevice, type TestDeviceOptions } from './make-test-device.ts';

let server: FakeMdmServer;
const made: TestDevice[] = [];

beforeEach(async () => {
  server = await FakeMdmServer.start();
});

afterEach(async () => {
  for (const test of made.splice(0)) test.stop();
  await server.close();
});

async function makeDevice(options: TestDeviceOptions = {}): Promise<TestDevice> {
  const test = await makeTestDevice(server.url, options);
  made.push(test);
  return test;
}

async function enrolled(options: TestDeviceOptions = {}): Promise<TestDevice> {
  const test = await makeDevice(options);
  await test.device.enroll();
  return test;
}

describe('enrollment', () => {
  it('sends Authenticate, then TokenUpdate, and nothing else', async () => {
    const { device, pushes } = await enrolled({ platform: 'iPhone' });
    expect(server.wordsOf(device.udid)).toEqual(['Authenticate', 'TokenUpdate']);
    const [authenticate, tokenUpdate] = server.heard;
    expect(authenticate?.contentType).toBe('application/x-apple-aspen-mdm-checkin');
    expect(authenticate?.signature).toMatch(/^[A-Za-z0-9+/]+=*$/);
    expect(authenticate?.fields.string('Topic')).toBe(TEST_TOPIC);
    expect(authenticate?.fields.string('SerialNumber')).toBe(device.model.serialNumber);
    expect(tokenUpdate?.fields.data('Token')?.toString('hex')).toBe(device.push?.tokenHex);
    expect(tokenUpdate?.fields.data('UnlockToken')?.length).toBeGreaterThan(0);
    expect(pushes.registered.get(device.push?.tokenHex ?? '')?.pushMagic).toBe(device.push?.pushMagic);
  });

  it('of a Mac escrows a bootstrap token and opens the user channel with a token of its own', async () => {
    const { device, pushes } = await enrolled({ opensUserChannel: true, escrowsBootstrapToken: true });
    expect(server.wordsOf(device.udid)).toEqual(['Authenticate', 'TokenUpdate', 'SetBootstrapToken']);
    expect(server.wordsOf(device.userEnrollmentId ?? '')).toEqual(['TokenUpdate']);
    expect(pushes.registered.size).toBe(2);
    expect(await device.getBootstrapToken()).toEqual(device.state.bootstrapToken);
  });

  it('of a Shared iPad names its user by the constant UserID and the short name', async () => {
    const { device } = await enrolled({ platform: 'sharediPad', opensUserChannel: true });
    expect(device.userEnrollmentId).toBe(`${device.udid}:${device.model.user?.shortName}`);
    expect(server.wordsOf(device.userEnrollmentId ?? '')).toEqual(['TokenUpdate']);
    expect(server.heard.at(-1)?.fields.string('UserID')).toBe('FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF');
  });

  it('fails when Authenticate is refused, and sends no TokenUpdate', async () => {
    server.override = () => ({ status: 400, body: 'Bad Request\n' });
    const { device } = await makeDevice();
    await expect(device.enroll()).rejects.toThrow(/Authenticate was answered with 400: Bad Request/);
    expect(device.lifecycle).toBe('new');
    expect(server.heard).toEqual([]);
  });

  it('gives up after as many attempts as it may make', async () => {
    let attempts = 0;
    server.override = () => {
      attempts++;
      return 'hang-up';
    };
    const { device } = await makeDevice();
    await expect(device.enroll()).rejects.toThrow(/Authenticate could not be sent/);
    expect(attempts).toBe(3);
  });

  it('again keeps the identity; as after an erasure it has a new one; both have new tokens', async () => {
    const { device } = await enrolled();
    const { identity, push } = device;
    await device.enroll();
    expect(device.identity).toBe(identity);
    expect(device.push?.tokenHex).not.toBe(push?.tokenHex);
    await device.reenroll();
    expect(device.identity?.certificateDer).not.toEqual(identity?.certificateDer);
  });

  it('can be refreshed: TokenUpdate with a new address replaces the old one', async () => {
    const { device, pushes } = await enrolled();
    const before = device.push;
    await device.tokenUpdate({ isNewAddress: true });
    expect(device.push).not.toEqual(before);
    expect([...pushes.registered.keys()]).toEqual([device.push?.tokenHex]);
    expect(server.wordsOf(device.udid).at(-1)).toBe('TokenUpdate');
  });
});

describe('polling', () => {
  it('answers command after command until the reply is empty (nanomdm §10 #38)', async () => {
    const { device, ledger } = await enrolled();
    await device.poll();
    server.enqueue(device.udid, 'CMD1', { RequestType: 'SecurityInfo' });
    server.enqueue(device.udid, 'CMD2', { RequestType: 'ProfileList' });
    await device.poll();
    await device.poll();
    const words = ['Idle', 'Idle', 'Acknowledged CMD1', 'Acknowledged CMD2', 'Idle'];
    expect(server.wordsOf(device.udid).slice(2)).toEqual(words);
    expect(server.heard.at(-1)?.contentType).toBe('application/x-apple-aspen-mdm; charset=UTF-8');
    expect(ledger.of(device.udid).command('CMD1')).toMatchObject({
      requestType: 'SecurityInfo',
      delivered: 1,
      executed: 1,
      answers: [{ status: 'Acknowledged', httpStatus: 200 }],
    });
  });

  it('keeps the queues of device and user channel apart', async () => {
    const { device } = await enrolled({ opensUserChannel: true });
    const userId = device.userEnrollmentId ?? '';
    server.enqueue(userId, 'FOR-USER', { RequestType: 'NSExtensionMappings' });
    await device.poll();
    expect(server.reportsOf('FOR-USER')).toEqual([]);
    await device.pollUser();
    expect(server.wordsOf(userId)).toEqual(['TokenUpdate', 'Idle', 'Acknowledged FOR-USER']);
  });

  it('is started by a push, and one more time by the pushes that arrive during it', async () => {
    const { device, pushes, activity } = await enrolled();
    server.override = (heard) => {
      if (heard.what === 'Idle' && server.wordsOf(device.udid).filter((word) => word === 'Idle').length === 0) {
        for (let times = 0; times < 5; times++) pushes.push(device.push?.tokenHex);
      }
      return undefined;
    };
    pushes.push(device.push?.tokenHex);
    await activity.idle();
    expect(server.wordsOf(device.udid).slice(2)).toEqual(['Idle', 'Idle']);
    expect(device.ledger.pushes).toBe(6);
  });

  it('answers a command that has no RequestType with CommandFormatError, and ends at a reply it cannot answer', async () => {
    const { device } = await enrolled();
    server.enqueueBytes(
      device.udid,
      'BARE',
      Buffer.from('<plist><dict><key>CommandUUID</key><string>BARE</string></dict></plist>'),
    );
    await device.poll();
    expect(server.reportsOf('BARE').map(({ what }) => what)).toEqual(['CommandFormatError']);
    server.enqueueBytes(device.udid, 'EMPTY', Buffer.from('<plist><dict/></plist>'));
    await device.poll();
    expect(device.ledger.events.at(-1)).toEqual({ kind: 'reply.unreadable', reason: 'no CommandUUID' });
  });

  it('answers an unknown RequestType with MCMDMErrorDomain 12021', async () => {
    const { device } = await enrolled();
    server.enqueue(device.udid, 'ODD', { RequestType: 'MakeCoffee' });
    await device.poll();
    const [report] = server.reportsOf('ODD');
    expect(report?.what).toBe('Error');
    const [error] = report?.fields.list('ErrorChain') ?? [];
    expect([error?.string('ErrorDomain'), error?.integer('ErrorCode')]).toEqual(['MCMDMErrorDomain', 12021]);
  });
});

describe('faults', () => {
  it('NotNow carries nothing out, and the command is answered when it comes again (nanomdm §10 #39)', async () => {
    const { device } = await enrolled({ behaviour: { notNowProbability: 1 } });
    server.enqueue(device.udid, 'LATER', { RequestType: 'SecurityInfo' });
    server.enqueue(device.udid, 'NOW', { RequestType: 'UserList' });
    await device.poll();
    // UserList is one of those that a Mac answers also in Power Nap.
    expect(server.wordsOf(device.udid).slice(2)).toEqual(['Idle', 'NotNow LATER', 'Acknowledged NOW', 'NotNow LATER']);
    expect(device.ledger.command('LATER')).toMatchObject({ delivered: 2, executed: 0 });
  });

  it('NotNow as the last word makes the device come back by itself', async () => {
    const { device, activity } = await enrolled({ seed: 5, behaviour: { notNowProbability: 0.5, notNowRetryMs: 1 } });
    for (let number = 0; number < 8; number++)
      server.enqueue(device.udid, `C${number}`, { RequestType: 'SecurityInfo' });
    await device.poll();
    await expect
      .poll(() => device.ledger.commands.every(({ executed }) => executed === 1) && activity.isIdle)
      .toBe(true);
    expect(server.wordsOf(device.udid).filter((word) => word.startsWith('NotNow')).length).toBeGreaterThan(0);
  });

  it('a lost reply makes the device send the same result again, byte for byte', async () => {
    const { device } = await enrolled({ behaviour: { duplicateProbability: 1 } });
    server.enqueue(device.udid, 'TWICE', { RequestType: 'DeviceInformation', Queries: ['BatteryLevel', 'UDID'] });
    await device.poll();
    const [first, second, ...more] = server.reportsOf('TWICE');
    expect(more).toEqual([]);
    expect(second?.body).toEqual(first?.body);
    expect(device.ledger.command('TWICE')).toMatchObject({ executed: 1, answers: { length: 2 } });
  });

  it('an injected error has an error chain and changes nothing on the device', async () => {
    const { device } = await enrolled({ behaviour: { errorProbability: 1 } });
    server.enqueue(device.udid, 'LOCK', { RequestType: 'DeviceLock' });
    await device.poll();
    expect(server.reportsOf('LOCK')[0]?.fields.list('ErrorChain')).toHaveLength(1);
    expect(device.state.isLocked).toBe(false);
  });

  it.each([
    ['503', { status: 503, headers: { 'Retry-After': '0' } } as const],
    ['500', { status: 500 } as const],
    ['a broken connection', 'hang-up' as const],
  ])('through %s the device keeps its result until the server took it', async (_, failure) => {
    const { device } = await enrolled();
    let failures = 0;
    server.override = ({ what }) => (what === 'Acknowledged' && failures++ < 3 ? failure : undefined);
    server.enqueue(device.udid, 'KEPT', { RequestType: 'SecurityInfo' });
    await device.poll();
    expect(server.wordsOf(device.udid).slice(2)).toEqual(['Idle', 'Acknowledged KEPT']);
    const record = device.ledger.command('KEPT');
    expect(record).toMatchObject({ delivered: 1, executed: 1 });
    expect(record?.answers.at(-1)?.httpStatus).toBe(200);
    expect(record?.answers.length).toBeGreaterThanOrEqual(3);
  });

  it('a command delivered again is answered again but carried out once', async () => {
    const { device } = await enrolled();
    const install = { RequestType: 'InstallApplication', Identifier: 'com.example.pear' };
    server.enqueue(device.udid, 'ONCE', install);
    await device.poll();
    server.enqueue(device.udid, 'ONCE', install);
    await device.poll();
    const [first, second] = server.reportsOf('ONCE');
    // Carried out twice, the second answer would say Updating.
    expect(first?.fields.string('State')).toBe('Installing');
    expect(second?.fields.string('State')).toBe('Installing');
    expect(device.ledger.command('ONCE')).toMatchObject({ delivered: 2, executed: 1 });
  });

  it('a device remembers the last 50 commands', async () => {
    const { device } = await enrolled();
    const enqueue = (number: number) => server.enqueue(device.udid, `C${number}`, { RequestType: 'UserList' });
    for (let number = 0; number < 51; number++) enqueue(number);
    await device.poll();
    enqueue(0);
    enqueue(20);
    enqueue(50);
    await device.poll();
    expect(device.ledger.command('C0')?.executed).toBe(2);
    expect(device.ledger.command('C20')).toMatchObject({ delivered: 2, executed: 1 });
    expect(server.reportsOf('C20').map(({ what }) => what)).toEqual(['Acknowledged', 'Acknowledged']);
    expect(device.ledger.command('C50')?.executed).toBe(1);
  });

  it('without network a push waits, and the device polls when it is back', async () => {
    const { device, pushes, activity } = await enrolled();
    device.availability.goAway();
    server.enqueue(device.udid, 'AWAY', { RequestType: 'UserList' });
    pushes.push(device.push?.tokenHex);
    expect(activity.isIdle).toBe(true);
    device.availability.comeBack();
    await activity.idle();
    expect(server.wordsOf(device.udid).slice(2)).toEqual(['Idle', 'Acknowledged AWAY']);
  });

  it('a window without network begins and ends by itself', async () => {
    const { device, activity } = await enrolled({ behaviour: { offline: [{ afterMs: 0, lastsMs: 5 }] } });
    await expect.poll(() => server.wordsOf(device.udid).slice(2), { interval: 1 }).toEqual(['Idle']);
    expect(device.availability.isAway).toBe(false);
    await activity.idle();
  });

  it('a Retry-After of the server stands in for the back-off', async () => {
    const { device } = await enrolled({ behaviour: { backOffMs: [3_600_000] } });
    let failures = 0;
    const later = { status: 503, headers: { 'Retry-After': '0' } };
    server.override = ({ what }) => (what === 'Acknowledged' && failures++ === 0 ? later : undefined);
    server.enqueue(device.udid, 'KEPT', { RequestType: 'UserList' });
    await device.poll();
    expect(device.ledger.command('KEPT')?.answers.map(({ httpStatus }) => httpStatus)).toEqual([503, 200]);
  });

  it('slow commands and a wrong clock are still answered', async () => {
    const { device } = await enrolled({ platform: 'iPhone', behaviour: { slowMs: 2, clockSkewMs: -86_400_000 * 365 } });
    server.enqueue(device.udid, 'LOSE', { RequestType: 'EnableLostMode', Message: 'Lost' });
    server.enqueue(device.udid, 'WHERE', { RequestType: 'DeviceLocation' });
    await device.poll();
    const timestamp = server.reportsOf('WHERE')[0]?.fields.string('Timestamp') ?? '';
    expect(Date.parse(timestamp)).toBeLessThan(Date.now() - 86_400_000 * 300);
  });
});
