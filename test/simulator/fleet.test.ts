import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Fleet, type FleetOptions, type FleetProgress, startFleet } from '../../simulator/fleet.ts';
import type { LedgerEvent } from '../../simulator/ledger.ts';
import { FakeMdmServer } from './fake-mdm-server.ts';
import { IMPATIENT, TEST_TOPIC, TestPushes, testIdentities } from './make-test-device.ts';

let server: FakeMdmServer;
const fleets: Fleet[] = [];

beforeEach(async () => {
  server = await FakeMdmServer.start();
});

afterEach(async () => {
  for (const fleet of fleets.splice(0)) fleet.stop();
  await server.close();
});

async function start(
  options: Partial<FleetOptions> = {},
): Promise<{ readonly fleet: Fleet; readonly pushes: TestPushes }> {
  const pushes = new TestPushes();
  const fleet = await startFleet({
    url: server.url,
    devices: 12,
    topic: TEST_TOPIC,
    seed: 7,
    rsaShare: 0,
    concurrency: 4,
    identitySource: await testIdentities(),
    apns: pushes,
    enrollmentAttempts: 2,
    ...options,
    behaviour: { ...IMPATIENT, ...options.behaviour },
  });
  fleets.push(fleet);
  return { fleet, pushes };
}

const COMMANDS = [
  'SecurityInfo',
  'ProfileList',
  'InstalledApplicationList',
  'DeviceLock',
  'CertificateList',
  'MakeCoffee',
];

/** Gives every device the same commands and has them all answered. */
async function drive({ fleet, pushes }: { readonly fleet: Fleet; readonly pushes: TestPushes }): Promise<void> {
  for (const device of fleet.devices) {
    COMMANDS.forEach((RequestType, at) => {
      server.enqueue(device.udid, `C${at}`, { RequestType });
    });
    pushes.push(device.push?.tokenHex);
  }
  await fleet.idle();
}

describe('a fleet', () => {
  it('enrolls all devices, each with one empty poll, and reports progress', async () => {
    const progress: FleetProgress[] = [];
    const { fleet } = await start({ onProgress: (step) => progress.push(step) });
    expect(fleet.devices).toHaveLength(12);
    expect(fleet.failures).toEqual([]);
    for (const { udid } of fleet.devices) {
      const words = server.wordsOf(udid).filter((word) => word !== 'SetBootstrapToken');
      expect(words).toEqual(['Authenticate', 'TokenUpdate', 'Idle']);
    }
    expect(progress.map(({ enrolled }) => enrolled)).toEqual(Array.from({ length: 12 }, (_, at) => at + 1));
    expect(progress.every(({ total, failed }) => total === 12 && failed === 0)).toBe(true);
  });

  it('never enrolls more devices at once than it may', async () => {
    const under = new Set<string>();
    let most = 0;
    server.override = ({ what, enrollmentId }) => {
      if (what === 'Authenticate') under.add(enrollmentId);
      most = Math.max(most, under.size);
      if (what === 'Idle') under.delete(enrollmentId);
      return undefined;
    };
    await start({ concurrency: 3, opensUserChannels: false });
    expect(most).toBeLessThanOrEqual(3);
    expect(most).toBeGreaterThan(1);
  });

  it('is idle only when every pushed device has been answered', async () => {
    const run = await start();
    await drive(run);
    const { ledger } = run.fleet;
    expect(ledger.commands()).toHaveLength(12 * COMMANDS.length);
    expect(ledger.commands().every(({ answers }) => answers.at(-1)?.httpStatus === 200)).toBe(true);
    expect(ledger.totals()).toMatchObject({ executed: 12 * COMMANDS.length, executedTwice: 0, pushes: 12 });
    expect(ledger.commands('C5').every(({ answers }) => answers[0]?.status === 'Error')).toBe(true);
  });

  it('with the same seed has the same devices and the same ledger, faults included', async () => {
    const behaviour = { notNowProbability: 0.3, errorProbability: 0.2, duplicateProbability: 0.3 };
    const ledgers: string[] = [];
    for (const seed of [99, 99, 100]) {
      const run = await start({ seed, behaviour });
      await drive(run);
      ledgers.push(run.fleet.ledger.toJsonLines());
      run.fleet.stop();
      await server.close();
      server = await FakeMdmServer.start();
    }
    expect(ledgers[0]).toBe(ledgers[1]);
    expect(ledgers[0]).not.toBe(ledgers[2]);
    expect(ledgers[0]).toContain('"status":"NotNow"');
  });

  it('keeps the devices that got in when some do not', async () => {
    const refused = new Set<string>();
    server.override = ({ what, enrollmentId }) => {
      if (what === 'Authenticate' && refused.size < 3) refused.add(enrollmentId);
      return refused.has(enrollmentId) ? { status: 400, body: 'no' } : undefined;
    };
    const { fleet } = await start();
    expect(fleet.devices).toHaveLength(9);
    expect(fleet.failures.map(({ udid }) => udid).sort()).toEqual([...refused].sort());
    expect(String(fleet.failures[0]?.error)).toMatch(/Authenticate was answered with 400: no/);
  });

  it('does not start when nobody gets in', async () => {
    server.override = () => ({ status: 500 });
    await expect(start({ devices: 3 })).rejects.toThrow(/Authenticate was answered with 500/);
  });

  it('that is interrupted while the server is away ends at once', async () => {
    const interrupted = new AbortController();
    server.override = () => {
      interrupted.abort(new Error('enough'));
      return { status: 503 };
    };
    const behaviour = { ...IMPATIENT, backOffMs: [3_600_000] };
    await expect(start({ signal: interrupted.signal, behaviour })).rejects.toThrow('enough');
  });

  it('has RSA keys in the share asked for', async () => {
    const { fleet } = await start({ devices: 2, rsaShare: 1 });
    expect(fleet.devices.map(({ identity }) => identity?.privateKey.asymmetricKeyType)).toEqual(['rsa', 'rsa']);
  });

  it('writes its ledger as JSON lines in the order of each enrollment', async () => {
    const { fleet } = await start({ devices: 1, platforms: ['iPhone'] });
    const lines: (LedgerEvent & { enrollmentId: string })[] = fleet.ledger
      .toJsonLines()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ kind }) => kind)).toEqual([
      'check-in.sent',
      'check-in.answered',
      'check-in.sent',
      'check-in.answered',
      'lifecycle',
      'report.sent',
      'report.answered',
    ]);
    expect(new Set(lines.map(({ enrollmentId }) => enrollmentId))).toEqual(new Set([fleet.devices[0]?.udid]));
    expect(fleet.ledger.of(fleet.devices[0]?.udid ?? '').checkIns).toEqual(['Authenticate', 'TokenUpdate']);
  });
});
