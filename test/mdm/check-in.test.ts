import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readCheckIn } from '../../mdm/check-in.ts';
import type { PlistDict } from '../../mdm/plist/value.ts';
import { writePlist } from '../../mdm/plist/write-plist.ts';

const read = (dict: PlistDict) => readCheckIn(writePlist(dict));
const codeOf = (dict: PlistDict): string | undefined => {
  const result = read(dict);
  return result.ok ? undefined : result.error.code;
};
const sample = (name: string): Buffer => readFileSync(new URL(`plist/samples/${name}.plist`, import.meta.url));
const PUSH = { Topic: 'com.apple.mgmt.x', PushMagic: 'magic', Token: Buffer.of(0xab, 0xcd) };

describe('readCheckIn', () => {
  it('nanomdm §10 #2: an Authenticate as a Mac sends it', () => {
    const result = readCheckIn(sample('authenticate'));
    expect(result).toMatchObject({
      ok: true,
      value: {
        messageType: 'Authenticate',
        enrollment: { type: 'Device', isDevice: true },
        isAwaitingConfiguration: false,
      },
    });
    if (!result.ok || result.value.messageType !== 'Authenticate') return;
    expect(result.value.identifiers.UDID).toBe(result.value.enrollment.id);
    expect(result.value.topic).toMatch(/^com\.apple\.mgmt\./);
    expect(result.value.device.serialNumber).toBeTruthy();
  });

  it('nanomdm §10 #3: a TokenUpdate as a Mac sends it', () => {
    const result = readCheckIn(sample('token-update'));
    expect(result).toMatchObject({ ok: true, value: { messageType: 'TokenUpdate' } });
    if (!result.ok || result.value.messageType !== 'TokenUpdate') return;
    expect(result.value.token.toString('hex')).toMatch(/^[0-9a-f]+$/);
    expect(result.value.topic).toMatch(/^com\.apple\.mgmt\./);
    expect(result.value.pushMagic).not.toBe('');
  });

  it('nanomdm §10 #1: an unknown or missing MessageType, also one that every object has', () => {
    for (const MessageType of ['authenticate', 'Hello', 'toString', '__proto__', ''])
      expect(read({ UDID: 'D', MessageType })).toMatchObject({
        error: { code: 'message.type', message: 'unrecognized message type', status: 400 },
      });
    expect(codeOf({ UDID: 'D' })).toBe('message.type');
  });

  it('nanomdm §10 #80: a message without ids', () => {
    for (const ids of [{}, { UDID: '' }, { UserID: 'U' }, { EnrollmentUserID: 'U' }])
      expect(codeOf({ MessageType: 'CheckOut', ...ids })).toBe('message.identity');
  });

  it('nanomdm §1.1: known keys of another type are refused, unknown ones are not looked at', () => {
    expect(codeOf({ MessageType: 'Authenticate', UDID: 1 })).toBe('message.field');
    expect(codeOf({ MessageType: 'Authenticate', UDID: 'D', Topic: Buffer.of(1) })).toBe('message.field');
    expect(codeOf({ MessageType: 'Authenticate', UDID: 'D', AwaitingConfiguration: 'yes' })).toBe('message.field');
    expect(codeOf({ MessageType: 'TokenUpdate', UDID: 'D', ...PUSH, Token: 'text' })).toBe('message.field');
    expect(codeOf({ MessageType: 'GetToken', UDID: 'D', TokenServiceType: 'x', TokenParameters: [] })).toBe(
      'message.field',
    );
    expect(codeOf({ MessageType: 'Authenticate', UDID: 'D', Whatever: [1, { a: true }] })).toBeUndefined();
    for (const root of ['<plist><array/></plist>', '<plist><string>Authenticate</string></plist>'])
      expect(readCheckIn(Buffer.from(root))).toMatchObject({ error: { code: 'message.field' } });
  });

  it('TokenUpdate needs Topic, PushMagic and Token; an unlock token may be missing', () => {
    for (const key of Object.keys(PUSH)) {
      const { [key as keyof typeof PUSH]: _left, ...rest } = PUSH;
      expect(codeOf({ MessageType: 'TokenUpdate', UDID: 'D', ...rest })).toBe('message.field');
    }
    expect(read({ MessageType: 'TokenUpdate', UDID: 'D', ...PUSH })).toMatchObject({
      value: { token: PUSH.Token, unlockToken: undefined },
    });
  });

  it('nanomdm §10 #4, #5: GetToken', () => {
    const of = (fields: PlistDict) => read({ MessageType: 'GetToken', UDID: 'D', ...fields });
    expect(of({ TokenServiceType: 'com.apple.maid' })).toMatchObject({ value: { tokenServiceType: 'com.apple.maid' } });
    expect(of({ TokenServiceType: '' })).toMatchObject({ error: { code: 'message.field' } });
    expect(of({})).toMatchObject({ error: { code: 'message.field' } });
    expect(of({ TokenServiceType: 'com.apple.watch.pairing' })).toMatchObject({ error: { code: 'message.field' } });
    const TokenParameters = { PhoneUDID: 'p', SecurityToken: 's', WatchUDID: 'w' };
    expect(of({ TokenServiceType: 'com.apple.watch.pairing', TokenParameters })).toMatchObject({
      value: { tokenParameters: TokenParameters },
    });
  });

  it('empty means missing where the message says so', () => {
    expect(read({ MessageType: 'SetBootstrapToken', UDID: 'D', BootstrapToken: Buffer.of() })).toMatchObject({
      value: { bootstrapToken: undefined },
    });
    expect(read({ MessageType: 'UserAuthenticate', UDID: 'D', DigestResponse: '' })).toMatchObject({
      value: { digestResponse: undefined },
    });
    expect(read({ MessageType: 'DeclarativeManagement', UDID: 'D' })).toMatchObject({
      value: { endpoint: '', data: undefined },
    });
  });
});
