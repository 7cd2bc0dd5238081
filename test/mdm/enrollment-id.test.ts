import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foldEnrollmentId, type Identifiers, resolveEnrollmentId } from '../../mdm/enrollment-id.ts';

const SHARED = 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF';

describe('nanomdm §10 #7: resolving identifiers', () => {
  it.each<[Identifiers, { id: string; type: string; deviceId: string; isDevice: boolean }]>([
    [{ UDID: 'D' }, { id: 'D', type: 'Device', deviceId: 'D', isDevice: true }],
    [
      { UDID: 'D', UserID: '' },
      { id: 'D', type: 'Device', deviceId: 'D', isDevice: true },
    ],
    [
      { UDID: 'D', UserID: 'U' },
      { id: 'D:U', type: 'User', deviceId: 'D', isDevice: false },
    ],
    [
      { UDID: 'D', UserID: SHARED, UserShortName: 'a@b.c' },
      { id: 'D:a@b.c', type: 'Shared iPad', deviceId: 'D', isDevice: false },
    ],
    [
      { UDID: 'D', UserID: SHARED },
      { id: 'D:', type: 'Shared iPad', deviceId: 'D', isDevice: false },
    ],
    [
      { UDID: 'D', UserID: SHARED.toLowerCase(), UserShortName: 'a' },
      { id: `D:${SHARED.toLowerCase()}`, type: 'User', deviceId: 'D', isDevice: false },
    ],
    [{ EnrollmentID: 'E' }, { id: 'E', type: 'User Enrollment (Device)', deviceId: 'E', isDevice: true }],
    [
      { EnrollmentID: 'E', UserID: 'U' },
      { id: 'E', type: 'User Enrollment (Device)', deviceId: 'E', isDevice: true },
    ],
    [
      { EnrollmentID: 'E', EnrollmentUserID: 'U' },
      { id: 'E:U', type: 'User Enrollment', deviceId: 'E', isDevice: false },
    ],
    [
      { UDID: 'D', EnrollmentID: 'E', EnrollmentUserID: 'U' },
      { id: 'D', type: 'Device', deviceId: 'D', isDevice: true },
    ],
    [
      { UDID: 'D', UserID: 'domain:user' },
      { id: 'D:domain:user', type: 'User', deviceId: 'D', isDevice: false },
    ],
    [
      { UDID: '', EnrollmentID: 'E' },
      { id: 'E', type: 'User Enrollment (Device)', deviceId: 'E', isDevice: true },
    ],
  ])('%j', (identifiers, expected) => {
    expect(resolveEnrollmentId(identifiers)).toEqual({ ok: true, value: expected });
  });

  it.each<[string, Identifiers]>([
    ['nanomdm §10 #8: nothing at all', {}],
    ['only a user', { UserID: 'U', EnrollmentUserID: 'U' }],
    ['256 characters', { UDID: 'D'.repeat(256) }],
    ['256 characters together', { UDID: 'D'.repeat(200), UserID: 'U'.repeat(55) }],
    // The collation pads with blanks: `D ` would be `D`.
    ['a blank at the end', { UDID: 'D ' }],
    ['a blank at the end of the device', { UDID: 'D ', UserID: 'U' }],
    ['a blank at the end of the user', { UDID: 'D', UserID: 'U ' }],
    ['a blank at the beginning', { UDID: ' D' }],
    ['a line end', { UDID: 'D\n' }],
    ['a control character of the user', { UDID: 'D', UserID: 'U\u0085' }],
    // It would be the user U of the device D.
    ['a colon in the UDID', { UDID: 'D:U' }],
    ['a colon in the EnrollmentID', { EnrollmentID: 'D:', EnrollmentUserID: 'U' }],
  ])('%s: none', (_what, identifiers) => {
    expect(resolveEnrollmentId(identifiers)).toMatchObject({
      ok: false,
      error: { code: 'message.identity', status: 400 },
    });
  });
});

describe('nanomdm §10 #103: folding', () => {
  it('folds ASCII letters and nothing else', () => {
    expect(foldEnrollmentId('AbC-ÄÖ:İK\u212a')).toBe('abc-ÄÖ:İk\u212a');
  });

  it('is done once and for all, and changes no length', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (id) => {
        const folded = foldEnrollmentId(id);
        expect(foldEnrollmentId(folded)).toBe(folded);
        expect(folded.length).toBe(id.length);
      }),
    );
  });
});
