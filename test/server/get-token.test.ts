import { describe, expect, it } from 'vitest';
import { readPlist } from '../../mdm/plist/read-plist.ts';
import { createGetToken } from '../../server/device/get-token.ts';
import { countRows } from '../harness/device-rows.ts';
import { useTestFolder } from '../harness/test-authority.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const folder = useTestFolder();
const token = Buffer.from([0, 1, 254, 255]);
const tokens = folder.write('tokens.json', JSON.stringify({ 'com.apple.maid': token.toString('base64') }));
const server = useTestServer(test, { TOKENS_FILE: tokens });
const without = useTestServer(test);

describe('GetToken', () => {
  it('nanomdm §10 #4, #10: the token of its type, byte for byte and alone', async () => {
    const device = await TestDevice.enrolled(server);
    const reply = await device.checkIn('GetToken', { TokenServiceType: 'com.apple.maid' });
    expect([reply.status, reply.headers['content-type']]).toEqual([200, 'text/xml; charset=utf-8']);
    expect(readPlist(reply.body)).toEqual({ ok: true, value: { TokenData: token } });
  });

  it.each([
    ['nanomdm §10 #11, #80: a type without a handler', { TokenServiceType: 'com.apple.other' }],
    ['a type named like a property of every object', { TokenServiceType: 'constructor' }],
    ['nanomdm §10 #5: an empty type', { TokenServiceType: '' }],
    ['nanomdm §10 #5: no type', {}],
    ['nanomdm §10 #5: watch pairing without parameters', { TokenServiceType: 'com.apple.watch.pairing' }],
  ])('%s is 400, as Apple asks, where the reference says 500', async (_what, fields) => {
    const device = await TestDevice.enrolled(server);
    const before = await countRows(test.db);
    expect((await device.checkIn('GetToken', fields)).status).toBe(400);
    expect(await countRows(test.db)).toEqual(before);
  });

  it('nanomdm §10 #80: without a file of tokens no type has a handler', async () => {
    const device = await TestDevice.enrolled(without);
    expect((await device.checkIn('GetToken', { TokenServiceType: 'com.apple.maid' })).status).toBe(400);
  });

  it('nanomdm §10 #5: watch pairing with parameters is read', async () => {
    const device = await TestDevice.enrolled(without);
    const fields = {
      TokenServiceType: 'com.apple.watch.pairing',
      TokenParameters: { PhoneUDID: 'p', SecurityToken: 's', WatchUDID: 'w' },
    };
    await device.checkIn('GetToken', fields);
    expect(without.log.at(-1)?.fields).toMatchObject({ code: 'token.unsupported' });
  });

  it('a file that is no record of base64 stops the start', () => {
    expect(() => createGetToken(folder.write('bad.json', '{"com.apple.maid": "%%%"}'))).toThrow();
    expect(() => createGetToken(folder.write('broken.json', '{'))).toThrow();
    expect(() => createGetToken('/nonexistent/tokens.json')).toThrow();
  });
});
