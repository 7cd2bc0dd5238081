import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Fleet } from '../../simulator/fleet.ts';
import { SYSTEM_API_KEY, useSystem } from '../harness/system.ts';
import { expectBooksToAgree, waitUntilSettled } from '../harness/system-books.ts';
import { makeCommand } from '../harness/test-device.ts';

const DEVICES = 30;
const system = useSystem();
const asked = new Map<string, readonly string[]>();
let fleet: Fleet;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'espalier-e2e-'));
  fleet = await system.startFleet({ devices: DEVICES, seed: 'device-path', rsaShare: 0.1 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface CurlReply {
  readonly status: number;
  readonly body: {
    readonly status?: Record<string, { push_result?: string; push_error?: string }>;
    readonly command_uuid?: string;
    readonly request_type?: string;
    readonly command_error?: string;
  };
}

/** The line of the README, as a shell would run it. */
async function curlEnqueue(ids: readonly string[], command: Buffer): Promise<CurlReply> {
  const file = join(folder, `${randomUUID()}.plist`);
  await writeFile(file, command);
  const address = `${system.url}/v1/enqueue/${ids.map(encodeURIComponent).join(',')}`;
  const { stdout } = await promisify(execFile)('curl', [
    ...['--silent', '--show-error', '--write-out', '\n%{http_code}'],
    ...['-u', `nanomdm:${SYSTEM_API_KEY}`, '-T', file, address],
  ]);
  const end = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(end + 1)), body: JSON.parse(stdout.slice(0, end)) };
}

async function ask(ids: readonly string[], requestType: string, fields = {}): Promise<CurlReply> {
  const uuid = randomUUID().toUpperCase();
  const reply = await curlEnqueue(ids, makeCommand(uuid, requestType, fields));
  if (reply.status === 200) asked.set(uuid, ids);
  return reply;
}

const QUERIES = { Queries: ['DeviceName', 'OSVersion', 'SerialNumber', 'ProductName', 'BuildVersion'] };
const INVENTORY = ['DeviceInformation', QUERIES] as const;

const deviceIds = (): string[] => fleet.devices.map((device) => device.udid);
const userIds = (): string[] => fleet.devices.flatMap((device) => device.userEnrollmentId ?? []);

describe('devices enroll over HTTP', () => {
  it('all of them, with user channels and bootstrap tokens', async () => {
    expect(fleet.failures).toEqual([]);
    expect(fleet.devices).toHaveLength(DEVICES);
    expect(userIds().length).toBeGreaterThan(3);
    const rows = await system.db.rows<{ id: string; enabled: number; tally: number }>(
      'SELECT enrollment_id AS id, enabled, token_update_tally AS tally FROM enrollments ORDER BY enrollment_id',
    );
    expect(rows).toEqual([...deviceIds(), ...userIds()].sort().map((id) => ({ id, enabled: 1, tally: 1 })));
    const macs = fleet.devices.filter((device) => device.model.platform === 'macOS');
    expect(macs.length).toBeGreaterThan(0);
    for (const mac of macs) expect(await mac.getBootstrapToken()).toEqual(mac.state.bootstrapToken);
  });
});

describe('an admin enqueues with curl', () => {
  it('for every device at once: 200 with a push_result for each id, pushed, fetched, answered', async () => {
    const ids = deviceIds();
    const { status, body } = await ask(ids, ...INVENTORY);
    expect(status).toBe(200);
    expect(Object.keys(body.status ?? {})).toEqual([...ids].sort());
    for (const entry of Object.values(body.status ?? {})) expect(entry).toEqual({ push_result: expect.any(String) });
    const sent = new Set(system.apns.pushes.map((push) => push.apnsId));
    expect(Object.values(body.status ?? {}).filter((entry) => !sent.has(entry.push_result ?? ''))).toEqual([]);
    expect(body.request_type).toBe('DeviceInformation');
    await waitUntilSettled(system.db, 20_000);
  });

  it('for a mixture of device and user channels, many calls at once', async () => {
    const [ids, users] = [deviceIds(), userIds()];
    const calls = Array.from({ length: 24 }, (_, index) => {
      const some = ids.filter((_id, position) => (position + index) % 7 === 0);
      if (index % 3 === 0) return ask(some, ...INVENTORY);
      if (index % 3 === 1) return ask([...some, ...users.slice(0, 3)], 'ProfileList');
      return ask(some, 'SecurityInfo');
    });
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 200));
    await waitUntilSettled(system.db, 20_000);
  });

  it('for a single id, and an id that nobody knows spoils the whole call', async () => {
    const [id = ''] = deviceIds();
    expect((await ask([id], ...INVENTORY)).status).toBe(200);
    const refused = await ask([id, 'A-STRANGER'], ...INVENTORY);
    expect(refused.status).toBe(404);
    expect(refused.body.command_error).toContain('A-STRANGER');
    await waitUntilSettled(system.db, 20_000);
  });

  it('a CommandUUID is queued once, whoever asks again', async () => {
    const [id = ''] = deviceIds();
    const uuid = randomUUID().toUpperCase();
    const again = Array.from({ length: 4 }, () => curlEnqueue([id], makeCommand(uuid, 'CertificateList')));
    const statuses = (await Promise.all(again)).map(({ status }) => status).sort();
    asked.set(uuid, [id]);
    expect(statuses).toEqual([200, 409, 409, 409]);
    await waitUntilSettled(system.db, 20_000);
  });
});

describe('afterwards', () => {
  it('what was asked, what the devices saw and what the database holds agree', async () => {
    await fleet.idle();
    await waitUntilSettled(system.db, 20_000);
    await expectBooksToAgree(system.db, fleet.ledger, asked);
    expect(fleet.ledger.totals().executedTwice).toBe(0);
  });

  it('the inventory says what the devices said', async () => {
    const rows = await system.db.rows<{ udid: string; name: string; serial: string; os: string; processed: number }>(
      'SELECT udid, device_name AS name, serial_number AS serial, os_version AS os, reports_processed AS processed FROM hosts ORDER BY udid',
    );
    const expected = fleet.devices.map(({ udid, model }) => ({
      udid,
      name: model.deviceName,
      serial: model.serialNumber,
      os: model.osVersion,
      processed: [...asked].filter(([uuid, ids]) => ids.includes(udid) && isInventory(uuid)).length,
    }));
    expect(rows).toEqual(expected.sort((a, b) => (a.udid < b.udid ? -1 : 1)));
  });
});

const isInventory = (uuid: string): boolean =>
  fleet.ledger.commands(uuid).some((record) => record.requestType === 'DeviceInformation');
