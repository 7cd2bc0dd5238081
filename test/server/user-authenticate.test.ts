import { describe, expect, it } from 'vitest';
import { readCheckInBody } from '../../db/queries/check-ins.ts';
import { countRows, readEnrollment } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
const challenging = useTestServer(test, { USER_AUTHENTICATE: 'zero-length' });
const DIGEST = { DigestResponse: 'Digest username="ada"' };

describe('UserAuthenticate', () => {
  it('nanomdm §10 #12, #79: is answered 410 by default, with a digest 200 empty, and nothing is stored', async () => {
    const device = await TestDevice.enrolled(server);
    const before = await countRows(test.db);
    for (const channel of [device, device.user({ UserID: 'U1', UserShortName: 'ada' })]) {
      for (const fields of [{}, { DigestResponse: '' }]) {
        const reply = await channel.checkIn('UserAuthenticate', fields);
        expect([reply.status, reply.text]).toEqual([410, 'Gone\n']);
      }
      const second = await channel.checkIn('UserAuthenticate', DIGEST);
      expect([second.status, second.text]).toEqual([200, '']);
    }
    expect(await countRows(test.db)).toEqual(before);
  });

  it('nanomdm §10 #13, #79: the zero-length challenge; each message is kept by itself', async () => {
    const device = await TestDevice.enrolled(challenging);
    const user = device.user({ UserID: 'U1', UserShortName: 'ada', UserLongName: 'Ada L.' });
    const first = await user.checkIn('UserAuthenticate');
    expect([first.status, first.body.length, first.headers['content-type']]).toEqual([
      200,
      234,
      'text/xml; charset=utf-8',
    ]);
    expect(first.text).toMatch(/<dict>\n\t<key>DigestChallenge<\/key>\n\t<string><\/string>\n<\/dict>\n<\/plist>$/);
    const second = await user.checkIn('UserAuthenticate', DIGEST);
    expect([second.status, second.text]).toEqual([200, '']);
    const row = await readEnrollment(test.db, user.id);
    expect(row).toMatchObject({ type: 'User', isDevice: 0, enabled: 0, tally: 0 });
    const kept = (type: string) => readCheckInBody(test.db, test.db.secrets, row?.id ?? 0, type);
    expect(await kept('UserAuthenticate')).toEqual(user.messageOf('UserAuthenticate'));
    expect(await kept('UserAuthenticateDigest')).toEqual(user.messageOf('UserAuthenticate', DIGEST));
    expect((await user.tokenUpdate()).status).toBe(200);
    expect(await readEnrollment(test.db, user.id)).toMatchObject({ enabled: 1, tally: 1 });
    await enqueue(challenging, user, 'user-authenticate');
    expect(await user.next()).toBe('user-authenticate');
  });

  it('nanomdm §1.3: without a UserID it is of the device', async () => {
    const device = await TestDevice.enrolled(challenging);
    expect((await device.checkIn('UserAuthenticate')).body.length).toBe(234);
    const row = await readEnrollment(test.db, device.id);
    expect(await readCheckInBody(test.db, test.db.secrets, row?.id ?? 0, 'UserAuthenticate')).toBeDefined();
  });
});
