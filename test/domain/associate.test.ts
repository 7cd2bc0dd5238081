import { describe, expect, it } from 'vitest';
import { type AuthenticateFacts, decideAuthenticate, decideMessage } from '../../domain/enrollment/associate.ts';

const [DEVICE, OTHER] = [7, 8];
const known = {
  device: DEVICE,
  certificateOf: DEVICE,
  deviceHasCertificate: true,
  issuedByOwnCa: true,
  namesDevice: true,
};
const [yes, no] = [true, false];
/** Every combination of some yes-or-no facts. */
const combinations = <K extends string>(...names: readonly K[]): Record<K, boolean>[] =>
  Array.from(
    { length: 2 ** names.length },
    (_, bits) =>
      Object.fromEntries(names.map((name, index) => [name, (bits & (1 << index)) !== 0])) as Record<K, boolean>,
  );

describe('decideMessage: may this certificate speak for this device? (nanomdm §3.4)', () => {
  it('nobody speaks for a device that never authenticated, whatever the certificate', () => {
    for (const facts of combinations('deviceHasCertificate', 'issuedByOwnCa', 'namesDevice'))
      for (const certificateOf of [undefined, OTHER])
        for (const isRetroactive of [yes, no])
          expect(decideMessage({ ...facts, certificateOf, device: undefined }, isRetroactive)).toEqual({
            outcome: 'refuse',
            reason: 'device is not enrolled',
          });
  });

  it('its own certificate always speaks, whatever else holds', () => {
    for (const facts of combinations('deviceHasCertificate', 'issuedByOwnCa', 'namesDevice'))
      for (const isRetroactive of [yes, no])
        expect(decideMessage({ ...known, ...facts }, isRetroactive)).toEqual({ outcome: 'known' });
  });

  it("another device's certificate never does, not even as a renewal or at first contact", () => {
    for (const facts of combinations('deviceHasCertificate', 'issuedByOwnCa', 'namesDevice'))
      for (const isRetroactive of [yes, no])
        expect(decideMessage({ device: DEVICE, certificateOf: OTHER, ...facts }, isRetroactive)).toEqual({
          outcome: 'refuse',
          reason: 'cert re-use not permitted',
        });
  });

  it.each([
    // own CA, names it, has one already, CERT_RETRO → decision
    [yes, yes, yes, no, { outcome: 'associate', because: 'renewal' }],
    [yes, yes, no, no, { outcome: 'associate', because: 'renewal' }],
    [yes, yes, yes, yes, { outcome: 'associate', because: 'renewal' }],
    [yes, no, yes, no, { outcome: 'refuse', reason: 'enrollment not associated with cert' }],
    [no, yes, yes, no, { outcome: 'refuse', reason: 'enrollment not associated with cert' }],
    [no, no, no, no, { outcome: 'refuse', reason: 'enrollment not associated with cert' }],
    [no, no, no, yes, { outcome: 'associate', because: 'retroactive' }],
    [yes, no, no, yes, { outcome: 'associate', because: 'retroactive' }],
    [no, yes, no, yes, { outcome: 'associate', because: 'retroactive' }],
    [no, yes, yes, yes, { outcome: 'refuse', reason: 'cert re-use not permitted' }],
    [yes, no, yes, yes, { outcome: 'refuse', reason: 'cert re-use not permitted' }],
  ])(
    'a new certificate: own CA %s, names the device %s, device has one %s, CERT_RETRO %s',
    (issuedByOwnCa, namesDevice, deviceHasCertificate, isRetroactive, decision) => {
      expect(
        decideMessage(
          { device: DEVICE, certificateOf: undefined, issuedByOwnCa, namesDevice, deviceHasCertificate },
          isRetroactive,
        ),
      ).toEqual(decision);
    },
  );
});

describe('decideAuthenticate: enrollment or renewal? (nanomdm §9.3, DESIGN §7)', () => {
  const renewing: AuthenticateFacts = {
    ...known,
    certificateOf: undefined,
    isEnabled: true,
    isRenewalUnderWay: true,
    isAwaitingConfiguration: false,
  };

  it('an enabled device that comes back with the identity of a profile we sent it has renewed', () => {
    expect(decideAuthenticate(renewing)).toEqual({ outcome: 'renew' });
    // Told twice, because the first answer got lost.
    expect(decideAuthenticate({ ...renewing, certificateOf: DEVICE })).toEqual({ outcome: 'renew' });
  });

  it.each([
    ['a device that is new', { device: undefined }],
    ['a device that checked out', { isEnabled: false }],
    ['no profile of ours under way', { isRenewalUnderWay: false }],
    ['a device in Setup Assistant', { isAwaitingConfiguration: true }],
    ['a certificate of another authority', { issuedByOwnCa: false }],
    ['a certificate that does not name the device', { namesDevice: false }],
  ])('%s: an enrollment', (_what, facts) => {
    expect(decideAuthenticate({ ...renewing, ...facts })).toEqual({ outcome: 'enroll' });
  });

  it("another device's certificate is refused, in every other respect whatever", () => {
    for (const facts of combinations(
      'isEnabled',
      'isRenewalUnderWay',
      'isAwaitingConfiguration',
      'issuedByOwnCa',
      'namesDevice',
    ))
      for (const device of [undefined, DEVICE])
        expect(decideAuthenticate({ ...renewing, ...facts, device, certificateOf: OTHER })).toEqual({
          outcome: 'refuse',
          reason: 'cert re-use not permitted',
        });
  });
});
