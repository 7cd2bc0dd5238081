import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import type { IdentitySource } from '../../simulator/identity-source.ts';
import { toPlistDict } from '../../simulator/plist-fields.ts';
import { FakeMdmServer } from './fake-mdm-server.ts';
import { makeTestDevice, type TestDevice, type TestDeviceOptions, testIdentities } from './make-test-device.ts';

let server: FakeMdmServer;
const made: TestDevice[] = [];

beforeEach(async () => {
  server = await FakeMdmServer.start();
});

afterEach(async () => {
  for (const test of made.splice(0)) test.stop();
  await server.close();
});

async function enrolled(options: TestDeviceOptions = {}): Promise<TestDevice> {
  const test = await makeTestDevice(server.url, options);
  made.push(test);
  await test.device.enroll();
  return test;
}

function statesOf({ device }: TestDevice): string[] {
  return device.ledger.events.flatMap((event) => (event.kind === 'lifecycle' ? event.state : []));
}

const renewal = writePlist(
  toPlistDict({
    PayloadIdentifier: 'org.espalier.enrollment',
    PayloadUUID: 'E',
    PayloadContent: [{ PayloadType: 'com.apple.mdm', PayloadIdentifier: 'mdm', PayloadUUID: 'M' }],
  }),
);

describe('a device', () => {
  it('that is erased acknowledges, forgets everything, and enrolls again with a new identity and token', async () => {
    const test = await enrolled({ platform: 'iPad' });
    const { device, activity } = test;
    const { identity, push } = device;
    server.enqueue(device.udid, 'APP', { RequestType: 'InstallApplication', Identifier: 'com.example.pear' });
    server.enqueue(device.udid, 'ERASE', { RequestType: 'EraseDevice' });
    server.enqueue(device.udid, 'AFTER', { RequestType: 'ProfileList' });
    await device.poll();
    await activity.idle();
    const words = ['Idle', 'Acknowledged APP', 'Acknowledged ERASE', 'Authenticate', 'TokenUpdate'];
    expect(server.wordsOf(device.udid).slice(2)).toEqual(words);
    expect(statesOf(test)).toEqual(['enrolled', 'erased', 'enrolled']);
    expect(device.state.apps.has('com.example.pear')).toBe(false);
    expect(device.identity).not.toBe(identity);
    expect([...test.pushes.registered.keys()]).toEqual([device.push?.tokenHex]);
    expect(device.push?.tokenHex).not.toBe(push?.tokenHex);
  });

  it('that is erased and not set up again stays silent', async () => {
    const test = await enrolled({ behaviour: { setUpAgainAfterMs: null } });
    server.enqueue(test.device.udid, 'ERASE', { RequestType: 'EraseDevice' });
    await test.device.poll();
    await test.device.poll();
    await test.activity.idle();
    expect(server.wordsOf(test.device.udid).at(-1)).toBe('Acknowledged ERASE');
    expect(test.device.lifecycle).toBe('erased');
    expect(test.pushes.registered.size).toBe(0);
  });

  it.each(['RestartDevice', 'ShutDownDevice'])(
    'told to %s goes silent, and polls when it is back',
    async (RequestType) => {
      const { device } = await enrolled();
      server.enqueue(device.udid, 'DOWN', { RequestType });
      server.enqueue(device.udid, 'AFTER', { RequestType: 'UserList' });
      await device.poll();
      await expect
        .poll(() => server.wordsOf(device.udid).slice(2))
        .toEqual(['Idle', 'Acknowledged DOWN', 'Idle', 'Acknowledged AFTER']);
    },
  );

  it('checks out, and does not poll any more', async () => {
    const { device, pushes } = await enrolled();
    await device.checkOut();
    await device.poll();
    expect(server.wordsOf(device.udid).at(-1)).toBe('CheckOut');
    expect(device.lifecycle).toBe('removed');
    expect(pushes.registered.size).toBe(0);
  });

  it('checks out when its enrollment profile is removed, after acknowledging that', async () => {
    const { device } = await enrolled();
    server.enqueue(device.udid, 'REMOVE', { RequestType: 'RemoveProfile', Identifier: 'org.espalier.enrollment' });
    await device.poll();
    expect(server.wordsOf(device.udid).slice(-2)).toEqual(['Acknowledged REMOVE', 'CheckOut']);
    expect(device.lifecycle).toBe('removed');
  });

  it('renews its identity by an enrollment profile: acknowledges with the old one, then uses the new one', async () => {
    const { device } = await enrolled({ platform: 'iPhone' });
    const before = device.identity;
    server.enqueue(device.udid, 'RENEW', { RequestType: 'InstallProfile', Payload: renewal });
    await device.poll();
    const after = device.identity;
    expect(server.wordsOf(device.udid).slice(2)).toEqual(['Idle', 'Acknowledged RENEW', 'Idle']);
    const signers = server.heard.map(({ signature = '' }) => Buffer.from(signature, 'base64'));
    const certificates = [before, after].map((identity) => identity?.certificateDer ?? Buffer.of());
    const signedBy = signers.map((cms) => certificates.findIndex((certificate) => cms.includes(certificate)));
    expect(signedBy).toEqual([0, 0, 0, 0, 1]);
    expect(new X509Certificate(certificates[1] ?? '').subject).toContain(`CN=${device.udid}`);
  });

  it('whose renewal fails keeps its identity and goes on', async () => {
    const identities = await testIdentities();
    let isBroken = false;
    const identitySource: IdentitySource = {
      obtain: (request) => (isBroken ? Promise.reject(new Error('no CA')) : identities.obtain(request)),
    };
    const test = await enrolled({ identitySource });
    const { device } = test;
    const { identity } = device;
    isBroken = true;
    server.enqueue(device.udid, 'RENEW', { RequestType: 'InstallProfile', Payload: renewal });
    await device.poll();
    expect(statesOf(test)).toEqual(['enrolled', 'identity not renewed: Error: no CA']);
    expect(device.identity).toBe(identity);
    await device.poll();
    expect(server.wordsOf(device.udid).at(-1)).toBe('Idle');
  });

  it('takes a push that comes before the reply to its TokenUpdate', async () => {
    const { device, pushes, activity } = await enrolled({ platform: 'iPhone' });
    server.enqueue(device.udid, 'FIRST', { RequestType: 'DeviceInformation', Queries: ['UDID'] });
    server.override = ({ what, fields }) => {
      if (what === 'TokenUpdate') pushes.push(fields.data('Token')?.toString('hex'));
      return undefined;
    };
    await device.reenroll();
    await activity.idle();
    expect(server.wordsOf(device.udid)).toContain('Acknowledged FIRST');
    expect([...pushes.registered.keys()]).toEqual([device.push?.tokenHex]);
  });

  it.each([
    ['401', { status: 401 }],
    ['403 with com.apple.unrecognized.device in JSON', jsonRefusal('com.apple.unrecognized.device')],
    ['403 with com.apple.unrecognized.device as a plist', plistRefusal('com.apple.unrecognized.device')],
  ])('leaves at a %s', async (_, reply) => {
    const { device, pushes, activity } = await enrolled({ opensUserChannel: true });
    server.override = () => reply;
    await device.poll();
    await activity.idle();
    expect(device.lifecycle).toBe('removed');
    expect(pushes.registered.size).toBe(0);
    server.override = () => undefined;
    await device.poll();
    expect(server.wordsOf(device.udid)).not.toContain('Idle');
  });

  it.each([
    ['403 without a body', { status: 403 }],
    ['403 with another code', jsonRefusal('com.apple.well-known.failed')],
    ['403 with broken JSON', { status: 403, headers: { 'Content-Type': 'application/json' }, body: '{' }],
    ['400', { status: 400 }],
  ])('stays at a %s, and does not insist', async (_, reply) => {
    const { device } = await enrolled();
    let refusals = 0;
    server.override = () => {
      refusals++;
      return reply;
    };
    await device.poll();
    expect(refusals).toBe(1);
    expect(device.lifecycle).toBe('enrolled');
  });

  it('in Setup Assistant waits for DeviceConfigured, once', async () => {
    const { device } = await enrolled({ awaitsConfiguration: true });
    expect(server.heard.at(-1)?.fields.boolean('AwaitingConfiguration')).toBe(true);
    server.enqueue(device.udid, 'DONE', { RequestType: 'DeviceConfigured' });
    server.enqueue(device.udid, 'AGAIN', { RequestType: 'DeviceConfigured' });
    await device.poll();
    expect(server.wordsOf(device.udid).slice(-2)).toEqual(['Acknowledged DONE', 'Error AGAIN']);
    expect(device.state.isAwaitingConfiguration).toBe(false);
  });

  it('stopped while the server is away ends at once, its result unsent', async () => {
    const test = await enrolled({ behaviour: { backOffMs: [3_600_000] } });
    const { device, activity } = test;
    server.override = ({ what }) => (what === 'Acknowledged' ? { status: 503 } : undefined);
    server.enqueue(device.udid, 'KEPT', { RequestType: 'UserList' });
    const polling = device.poll();
    await expect.poll(() => device.ledger.command('KEPT')?.answers.at(-1)?.httpStatus).toBe(503);
    expect(activity.isIdle).toBe(false);
    test.stop();
    await polling;
    await activity.idle();
    expect(server.reportsOf('KEPT')).toEqual([]);
  });
});

function jsonRefusal(code: string) {
  return { status: 403, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ code }) };
}

function plistRefusal(code: string) {
  return { status: 403, headers: { 'Content-Type': 'application/xml' }, body: writePlist(toPlistDict({ code })) };
}
