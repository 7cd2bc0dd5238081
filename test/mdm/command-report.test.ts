import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isFinal, isIdle, isNotNow, readCommandReport } from '../../mdm/command-report.ts';
import type { PlistDict } from '../../mdm/plist/value.ts';
import { writePlist } from '../../mdm/plist/write-plist.ts';

const read = (fields: PlistDict) => readCommandReport(writePlist({ UDID: 'D', ...fields }));

describe('readCommandReport', () => {
  it('nanomdm §10 #6: a DeviceInformation result', () => {
    const body = readFileSync(new URL('plist/samples/device-information.plist', import.meta.url));
    const result = readCommandReport(body);
    expect(result).toMatchObject({ ok: true, value: { status: 'Acknowledged', errorChain: [] } });
    if (!result.ok) return;
    expect(result.value.commandUuid).toBeTruthy();
    expect(result.value.enrollment.id).toBe(result.value.identifiers.UDID);
  });

  it('an Idle has no command, and an empty CommandUUID is none', () => {
    expect(read({ Status: 'Idle' })).toMatchObject({ value: { status: 'Idle', commandUuid: undefined } });
    expect(read({ Status: 'Error', CommandUUID: '' })).toMatchObject({ value: { commandUuid: undefined } });
  });

  it('nanomdm §10 #85: Status must be there, be text, and be storable', () => {
    for (const fields of [
      {},
      { Status: '' },
      { Status: 1 },
      { status: 'Idle' },
      { Status: 'S'.repeat(32) },
    ] as PlistDict[])
      expect(read(fields)).toMatchObject({ ok: false, error: { code: 'message.field', status: 400 } });
    expect(read({ Status: 'S'.repeat(31) })).toMatchObject({ ok: true });
  });

  it('nanomdm §10 #85: ErrorChain must be dictionaries', () => {
    const chain = [
      { ErrorCode: 12_021, ErrorDomain: 'MCMDMErrorDomain', LocalizedDescription: 'x', USEnglishDescription: 'x' },
    ];
    expect(read({ Status: 'Error', CommandUUID: 'c', ErrorChain: chain })).toMatchObject({
      value: { errorChain: chain },
    });
    for (const ErrorChain of ['x', ['x'], {}, [[]]])
      expect(read({ Status: 'Error', ErrorChain })).toMatchObject({ error: { code: 'message.field' } });
  });

  it('nanomdm §2.1: every Status but Idle and NotNow, spelt exactly so, ends a command', () => {
    expect(
      ['Idle', 'NotNow', 'Acknowledged', 'Error', 'CommandFormatError', 'Foo', 'idle', 'Idle '].map(isFinal),
    ).toEqual([false, false, true, true, true, true, true, true]);
    expect([isIdle('Idle'), isIdle('idle'), isNotNow('NotNow'), isNotNow('Notnow')]).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });
});
