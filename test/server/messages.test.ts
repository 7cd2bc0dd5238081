import { describe, expect, it } from 'vitest';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import { countRows, readEnrollment } from '../harness/device-rows.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { CHECK_IN_TYPE, enqueue, REPORT_TYPE, TestDevice } from '../harness/test-device.ts';
import { startTestServer, useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
const utf8 = (text: string): Buffer => Buffer.from(text);

describe('telling check-ins from reports', () => {
  it.each([
    ['with a charset', `${CHECK_IN_TYPE}; charset=UTF-8`, 200],
    ['as JSON', 'application/json', 400],
    ['without a Content-Type', null, 400],
    ['in capitals', CHECK_IN_TYPE.toUpperCase(), 400],
  ])('nanomdm §10 #83: a check-in %s', async (_what, contentType, status) => {
    const device = await TestDevice.make(server);
    expect((await device.authenticate({}, { contentType })).status).toBe(status);
    expect((await readEnrollment(test.db, device.id)) !== undefined).toBe(status === 200);
  });

  it('nanomdm §10 #60: /checkin is not there unless it was asked for; /mdm/ never', async () => {
    const device = await TestDevice.make(server);
    for (const path of ['/checkin', '/mdm/', '/MDM']) {
      const reply = await device.authenticate({}, { path });
      expect([path, reply.status, reply.text]).toEqual([path, 404, '404 page not found\n']);
    }
  });

  it('nanomdm §10 #84: with a separate check-in URL each takes its own kind, whatever the Content-Type', async () => {
    const separate = await startTestServer(test, { SEPARATE_CHECKIN: '1' });
    try {
      const device = await TestDevice.make(separate);
      expect((await device.authenticate({})).status).toBe(400);
      expect(await readEnrollment(test.db, device.id)).toBeUndefined();
      for (const contentType of [CHECK_IN_TYPE, REPORT_TYPE, 'text/plain', null])
        expect((await device.authenticate({}, { path: '/checkin', contentType })).status).toBe(200);
      expect((await device.tokenUpdate({}, { path: '/checkin' })).status).toBe(200);
      expect((await device.report('Idle', undefined, {}, { path: '/checkin' })).status).toBe(400);
      expect((await device.report('Idle', undefined, {}, { contentType: CHECK_IN_TYPE })).status).toBe(200);
    } finally {
      await separate.close();
    }
  });

  it('devices send PUT; any other method with the same message is answered the same', async () => {
    const device = await TestDevice.make(server);
    expect((await device.authenticate({}, { method: 'POST' })).status).toBe(200);
    expect((await device.tokenUpdate()).status).toBe(200);
    expect((await device.report('Idle', undefined, {}, { method: 'POST' })).status).toBe(200);
  });
});

describe('answers', () => {
  it('nanomdm §10 #75: nothing to say is 200 of length 0 without a Content-Type', async () => {
    const device = await TestDevice.make(server);
    for (const reply of [await device.authenticate(), await device.tokenUpdate(), await device.report('Idle')]) {
      expect([reply.status, reply.headers['content-length'], reply.headers['content-type']]).toEqual([
        200,
        '0',
        undefined,
      ]);
      for (const header of ['etag', 'x-powered-by', 'server', 'cache-control'])
        expect(reply.headers).not.toHaveProperty(header);
    }
  });

  it('a command is served byte for byte as it was queued, as text/xml', async () => {
    const device = await TestDevice.enrolled(server);
    const command = utf8(
      '<?xml version="1.0"?>\n<plist><dict>\t<key>CommandUUID</key><string>odd é</string><key>Command</key><dict><key>RequestType</key><string>X</string></dict></dict></plist>\n\n',
    );
    await enqueue(server, device, command);
    const reply = await device.report('Idle');
    expect(reply.body.equals(command)).toBe(true);
    expect(reply.headers['content-type']).toBe('text/xml; charset=utf-8');
  });

  it('nanomdm §0.3: a refusal is the status text, and the reason stays in the log', async () => {
    const device = await TestDevice.enrolled(server);
    const reply = await device.put(utf8('nonsense'));
    expect([reply.status, reply.text, reply.headers['content-type'], reply.headers['x-content-type-options']]).toEqual([
      400,
      'Bad Request\n',
      'text/plain; charset=utf-8',
      'nosniff',
    ]);
    expect(server.log.filter(({ event }) => event === 'device.refused').at(-1)?.fields).toMatchObject({
      status: 400,
      code: 'plist.syntax',
    });
  });
});

describe('check-ins that cannot be read', () => {
  const wrap = (inner: string): Buffer => utf8(`<?xml version="1.0"?><plist><dict>${inner}</dict></plist>`);
  const id = '<key>UDID</key><string>UNREADABLE</string>';
  it.each([
    ['nanomdm §10 #1: an unknown MessageType', wrap(`<key>MessageType</key><string>Hello</string>${id}`)],
    [
      'nanomdm §10 #80: an unknown MessageType named like a property',
      wrap(`<key>MessageType</key><string>toString</string>${id}`),
    ],
    ['nanomdm §1.1: MessageType in lower case', wrap(`<key>MessageType</key><string>authenticate</string>${id}`)],
    ['no MessageType', wrap(id)],
    ['an empty body', utf8('')],
    ['an array', utf8('<plist><array/></plist>')],
    [
      'nanomdm §1.1: a string for data',
      wrap(
        `<key>MessageType</key><string>TokenUpdate</string>${id}<key>Topic</key><string>t</string><key>PushMagic</key><string>m</string><key>Token</key><string>AA</string>`,
      ),
    ],
    [
      'nanomdm §1.1: an integer for a string',
      wrap(`<key>MessageType</key><string>Authenticate</string>${id}<key>Topic</key><integer>1</integer>`),
    ],
    // The reference: 500 "nil enrollment id"; a client's mistake is a 4xx here (docs/architecture.md).
    ['nanomdm §10 #80: no ids', wrap('<key>MessageType</key><string>Authenticate</string>')],
    [
      'an enrollment id of 256 characters',
      wrap(`<key>MessageType</key><string>Authenticate</string><key>UDID</key><string>${'D'.repeat(256)}</string>`),
    ],
  ])('%s: 400 and nothing is written', async (_what, body) => {
    const device = await TestDevice.make(server);
    const before = await countRows(test.db);
    expect((await device.put(body, { contentType: CHECK_IN_TYPE })).status).toBe(400);
    expect(await countRows(test.db)).toEqual(before);
  });

  it.each(['Topic', 'PushMagic', 'Token'])(
    'nanomdm §1.3: a TokenUpdate without %s, or with an empty one, is 400 and changes nothing',
    async (key) => {
      const device = await TestDevice.enrolled(server);
      const before = await readEnrollment(test.db, device.id);
      for (const value of [undefined, key === 'Token' ? Buffer.of() : '']) {
        const push = { Topic: 'com.apple.mgmt.x', PushMagic: 'm', Token: Buffer.of(1) };
        const fields = Object.fromEntries(
          Object.entries({ ...push, [key]: value }).flatMap(([name, field]) =>
            field === undefined ? [] : [[name, field]],
          ),
        );
        expect((await device.checkIn('TokenUpdate', fields)).status).toBe(400);
      }
      expect(await readEnrollment(test.db, device.id)).toEqual(before);
    },
  );
});

describe('reports that cannot be read', () => {
  it.each([
    ['nanomdm §10 #85: no Status', { UDID: 'D' }],
    ['an empty Status', { UDID: 'D', Status: '' }],
    ['nanomdm §10 #85: a lower-case status key', { UDID: 'D', status: 'Idle' }],
    ['nanomdm §10 #85: a string as ErrorChain', { UDID: 'D', Status: 'Error', CommandUUID: 'x', ErrorChain: 'broken' }],
    ['ErrorChain with a string in it', { UDID: 'D', Status: 'Error', CommandUUID: 'x', ErrorChain: ['broken'] }],
    // The reference: 500, from the width of its column.
    ['nanomdm §2.5: a Status of 32 characters', { UDID: 'D', Status: 'S'.repeat(32), CommandUUID: 'x' }],
    ['no ids', { Status: 'Idle' }],
    ['a CommandUUID that is a number', { UDID: 'D', Status: 'Idle', CommandUUID: 7 }],
  ])('%s: 400', async (_what, fields) => {
    const device = await TestDevice.enrolled(server);
    const body = writePlist({ ...fields, ...('UDID' in fields && device.ids) });
    expect((await device.put(body)).status).toBe(400);
  });

  it('nanomdm §10 #85: an empty body and an array are 400', async () => {
    const device = await TestDevice.enrolled(server);
    for (const body of ['', '<plist><array/></plist>', '<plist><string>Idle</string></plist>'])
      expect((await device.put(utf8(body))).status).toBe(400);
  });
});

describe('nanomdm §10 #86: odd XML of an Idle', () => {
  const fields = (udid: string): string =>
    `<dict><key>UDID</key><string>${udid}</string><key>Status</key><string>Idle</string></dict>`;
  it.each([
    ['no XML declaration', 200, (udid: string) => `<plist version="1.0">${fields(udid)}</plist>`],
    ['leading whitespace', 200, (udid: string) => ` \n\t<plist version="1.0">${fields(udid)}</plist>`],
    ['no <plist>', 200, (udid: string) => fields(udid)],
    ['text behind the end', 200, (udid: string) => `<plist>${fields(udid)}</plist>and so on`],
    [
      'a key twice: the last one wins',
      200,
      (udid: string) =>
        `<plist><dict><key>UDID</key><string>${udid}</string><key>Status</key><string>Error</string><key>Status</key><string>Idle</string></dict></plist>`,
    ],
    [
      'a custom entity',
      400,
      (udid: string) =>
        `<!DOCTYPE plist [<!ENTITY u "${udid}">]><plist><dict><key>UDID</key><string>&u;</string><key>Status</key><string>Idle</string></dict></plist>`,
    ],
    ['ISO-8859-1', 400, (udid: string) => `<?xml version="1.0" encoding="ISO-8859-1"?><plist>${fields(udid)}</plist>`],
  ])('%s: %i', async (_what, status, write) => {
    const device = await TestDevice.enrolled(server);
    expect((await device.put(utf8(write(device.id)))).status).toBe(status);
  });
});
