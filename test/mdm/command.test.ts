import { describe, expect, it } from 'vitest';
import { MAX_COMMAND_BYTES, readCommand } from '../../mdm/command.ts';
import type { PlistDict } from '../../mdm/plist/value.ts';
import { writePlist } from '../../mdm/plist/write-plist.ts';

const read = (dict: PlistDict) => readCommand(writePlist(dict));
const profile = (type: string): Buffer => writePlist({ PayloadContent: [{ PayloadType: type }] });

describe('readCommand', () => {
  it('gives UUID and RequestType', () => {
    expect(read({ CommandUUID: 'u', Command: { RequestType: 'ProfileList' } })).toEqual({
      ok: true,
      value: { commandUuid: 'u', requestType: 'ProfileList', renewsEnrollment: false },
    });
  });

  it.each<[string, PlistDict]>([
    ['no UUID', { Command: { RequestType: 'X' } }],
    ['an empty UUID', { CommandUUID: '', Command: { RequestType: 'X' } }],
    ['no Command', { CommandUUID: 'u' }],
    ['no RequestType', { CommandUUID: 'u', Command: {} }],
    ['a UUID of 128 characters', { CommandUUID: 'u'.repeat(128), Command: { RequestType: 'X' } }],
    ['a RequestType of 64 characters', { CommandUUID: 'u', Command: { RequestType: 'X'.repeat(64) } }],
  ])('nanomdm §10 #9: %s is an invalid command', (_what, dict) => {
    expect(read(dict)).toMatchObject({ ok: false, error: { code: 'command.invalid' } });
  });

  it('keys of another type, another root, no plist, too many bytes', () => {
    expect(read({ CommandUUID: 1, Command: { RequestType: 'X' } })).toMatchObject({ error: { code: 'message.field' } });
    expect(read({ CommandUUID: 'u', Command: ['X'] })).toMatchObject({ error: { code: 'message.field' } });
    expect(readCommand(writePlist(['X']))).toMatchObject({ error: { code: 'message.field' } });
    expect(readCommand(Buffer.from('garbage'))).toMatchObject({ error: { code: 'plist.syntax' } });
    expect(readCommand(Buffer.alloc(MAX_COMMAND_BYTES + 1, ' '))).toMatchObject({
      error: { code: 'plist.limit', status: 413 },
    });
  });

  it('knows an enrollment profile, plain or inside a signature, from any other command', () => {
    const of = (RequestType: string, Payload: Buffer | string): unknown => {
      const result = read({ CommandUUID: 'u', Command: { RequestType, Payload } });
      return result.ok && result.value.renewsEnrollment;
    };
    const signed = Buffer.concat([
      Buffer.from([0x30, 0x82, 0x01, 0x00]),
      profile('com.apple.mdm'),
      Buffer.from([0x31, 0x00]),
    ]);
    expect(of('InstallProfile', profile('com.apple.mdm'))).toBe(true);
    expect(of('InstallProfile', signed)).toBe(true);
    expect(of('InstallProfile', profile('com.apple.wifi.managed'))).toBe(false);
    expect(of('InstallProfile', profile('com.apple.mdm.other'))).toBe(false);
    expect(of('RemoveProfile', profile('com.apple.mdm'))).toBe(false);
    expect(of('InstallProfile', profile('com.apple.mdm').toString())).toBe(false);
  });
});
