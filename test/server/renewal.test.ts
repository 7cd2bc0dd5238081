import { describe, expect, it } from 'vitest';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import { readEnrollment, readQueue, readResults } from '../harness/device-rows.ts';
import { useForeignAuthority } from '../harness/test-authority.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, issueIdentity, makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const foreign = useForeignAuthority();
const server = useTestServer(test, async () => ({ CA_FILE: foreign.file }));

const profile = writePlist({
  PayloadType: 'Configuration',
  PayloadContent: [{ PayloadType: 'com.apple.mdm', ServerURL: 'https://mdm.example.org/mdm' }],
});
const renewal = (uuid: string): Buffer => makeCommand(uuid, 'InstallProfile', { Payload: profile });

interface Case {
  readonly device: TestDevice;
  /** UUID of the enrollment profile's command. */
  readonly renews: string;
  readonly waiting: string;
}

/** An enrolled device with a bootstrap token and a command that waits behind the enrollment profile. */
async function underRenewal(label: string): Promise<Case> {
  const device = await TestDevice.enrolled(server);
  await device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.from('kept') });
  const [renews, waiting] = [`${label}-renews`, `${label}-waiting`];
  await enqueue(server, device, renewal(renews), waiting);
  expect(await device.next()).toBe(renews);
  return { device, renews, waiting };
}

const renewedIdentity = (device: TestDevice) => issueIdentity(server.authority, { commonName: device.id });
const hasBootstrapToken = async (device: TestDevice): Promise<boolean> =>
  (await device.checkIn('GetBootstrapToken')).body.length > 0;

describe('nanomdm §10 #55: an Authenticate that an enrollment profile of ours brought about', () => {
  it('keeps queue, tally and bootstrap token, and binds the new certificate', async () => {
    const { device, renews, waiting } = await underRenewal('keeps');
    device.identity = await renewedIdentity(device);
    expect((await device.authenticate()).status).toBe(200);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 1, tally: 1 });
    expect((await device.tokenUpdate()).status).toBe(200);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 1, tally: 2 });
    expect(await hasBootstrapToken(device)).toBe(true);
    expect(await readQueue(test.db, device.id)).toEqual([renews, waiting]);
    expect(await device.next('Acknowledged', renews)).toBe(waiting);
    expect(server.log.filter(({ event }) => event === 'enrollment.renewed')).toHaveLength(1);
  });

  it('also when the profile was acknowledged before', async () => {
    const { device, renews, waiting } = await underRenewal('acknowledged');
    expect(await device.next('Acknowledged', renews)).toBe(waiting);
    device.identity = await renewedIdentity(device);
    await device.enroll();
    expect(await hasBootstrapToken(device)).toBe(true);
    expect(await device.next()).toBe(waiting);
  });

  it('and when the Authenticate is sent twice because an answer got lost', async () => {
    const { device, renews } = await underRenewal('twice');
    device.identity = await renewedIdentity(device);
    expect((await device.authenticate()).status).toBe(200);
    expect((await device.authenticate()).status).toBe(200);
    await device.tokenUpdate();
    expect(await hasBootstrapToken(device)).toBe(true);
    expect(await device.next()).toBe(renews);
  });
});

describe('an Authenticate that is no renewal, whatever is pending', () => {
  const expectWiped = async ({ device, waiting }: Case): Promise<void> => {
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ enabled: 1, tally: 1 });
    expect(await readQueue(test.db, device.id)).toEqual([]);
    expect(await readResults(test.db, device.id)).toMatchObject({ [waiting]: { isCleared: 1 } });
    expect(await hasBootstrapToken(device)).toBe(false);
  };

  it('with a certificate of another authority', async () => {
    const renewing = await underRenewal('foreign');
    renewing.device.identity = await issueIdentity(foreign.authority, { commonName: renewing.device.id });
    await renewing.device.enroll();
    await expectWiped(renewing);
  });

  it('with a certificate that does not name the device', async () => {
    const renewing = await underRenewal('unnamed');
    renewing.device.identity = await issueIdentity(server.authority, { commonName: 'somebody' });
    await renewing.device.enroll();
    await expectWiped(renewing);
  });

  it('of a device that had checked out', async () => {
    const renewing = await underRenewal('checked-out');
    await renewing.device.checkIn('CheckOut');
    renewing.device.identity = await renewedIdentity(renewing.device);
    await renewing.device.enroll();
    await expectWiped(renewing);
  });

  it('when the enrollment profile was refused', async () => {
    const renewing = await underRenewal('refused');
    await renewing.device.next('Error', renewing.renews);
    renewing.device.identity = await renewedIdentity(renewing.device);
    await renewing.device.enroll();
    await expectWiped(renewing);
  });

  it('of a device in Setup Assistant that says so at Authenticate', async () => {
    const renewing = await underRenewal('awaiting');
    renewing.device.identity = await renewedIdentity(renewing.device);
    await renewing.device.authenticate({ AwaitingConfiguration: true });
    await renewing.device.tokenUpdate({ AwaitingConfiguration: true });
    await expectWiped(renewing);
  });

  // Apple's devices say it in TokenUpdate (apple-protocols §1.5); by then the Authenticate was taken for a renewal.
  it('of a device in Setup Assistant that says so only at TokenUpdate', async () => {
    const renewing = await underRenewal('awaiting-late');
    const { device } = renewing;
    device.identity = await renewedIdentity(device);
    await device.authenticate();
    await device.tokenUpdate({ AwaitingConfiguration: true });
    await expectWiped(renewing);
  });

  it('a device that stays in Setup Assistant is wiped once, not at each of its TokenUpdates', async () => {
    const { device } = await underRenewal('awaiting-once');
    device.identity = await renewedIdentity(device);
    await device.authenticate();
    await device.tokenUpdate({ AwaitingConfiguration: true });
    await device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.from('new') });
    await enqueue(server, device, 'setup-command');
    await device.tokenUpdate({ AwaitingConfiguration: true });
    expect(await hasBootstrapToken(device)).toBe(true);
    expect(await readQueue(test.db, device.id)).toEqual(['setup-command']);
    expect(await readEnrollment(test.db, device.id)).toMatchObject({ tally: 2 });
  });
});
