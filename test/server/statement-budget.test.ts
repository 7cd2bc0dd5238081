import type { Pool } from 'mysql2/promise';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Reply } from '../harness/http-client.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { enqueue, issueIdentity, makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const server = useTestServer(test);
const roundTrips: string[] = [];
let device: TestDevice;

/** Notes what goes through each connection of the server's pool; setting one up does not count. */
function note(pool: Pool): void {
  const seen = new WeakSet<object>();
  const watch = (connection: { addCommand(command: { sql?: string }): unknown }): void => {
    if (seen.has(connection)) return;
    seen.add(connection);
    const addCommand = connection.addCommand.bind(connection);
    connection.addCommand = (command) => {
      if (command.sql !== undefined && !command.sql.startsWith('SET ')) roundTrips.push(command.sql);
      return addCommand(command);
    };
  };
  pool.pool.on('acquire', (connection) => watch(connection as unknown as Parameters<typeof watch>[0]));
}

/** The statements sent so far, shortened. In one round trip there may be several; inside a value a line feed is written as `\\n`. */
const statements = (): string[] =>
  roundTrips.flatMap((text) => text.split(';\n')).map((sql) => sql.trim().replace(/\s+/g, ' ').slice(0, 60));

beforeAll(async () => {
  note(server.db.pool);
  device = await TestDevice.enrolled(server);
  // From here on the device is known: its ids and certificate are cached.
  await device.report('Idle');
});

/** Statements of a request that is alone, without last seen, which is written for all devices together. START and COMMIT count one each. */
async function cost(request: () => Promise<Reply>, status = 200): Promise<{ work: string[]; transactions: number }> {
  await server.device.lastSeen.flush();
  roundTrips.length = 0;
  expect((await request()).status).toBe(status);
  const own = statements().filter((sql) => !sql.startsWith('INSERT INTO last_seen'));
  const work = own.filter((sql) => !/^(START|COMMIT)/.test(sql));
  return { work, transactions: own.filter((sql) => sql.startsWith('COMMIT')).length };
}

describe('nanomdm §10 #101, §14.4: statements of one request of a known device', () => {
  it('an Idle with nothing to do: 1 read, no transaction (reference 3)', async () => {
    expect(await cost(() => device.report('Idle'))).toMatchObject({
      work: [expect.stringMatching(/^SELECT/)],
      transactions: 0,
    });
  });

  it('an Idle that is served: 1 more to read the command, and that once for all devices that get it', async () => {
    const other = await TestDevice.enrolled(server);
    await other.report('Idle');
    await enqueue(server, [device, other], 'budget-shared');
    expect((await cost(() => device.report('Idle'))).work).toHaveLength(2);
    expect((await cost(() => other.report('Idle'))).work).toHaveLength(1);
    await device.next('Acknowledged', 'budget-shared');
  });

  it.each(['Acknowledged', 'NotNow', 'Error'])('%s: at most the reference, 4, in one transaction', async (status) => {
    const uuid = `budget-${status}`;
    await enqueue(server, device, uuid);
    await device.report('Idle');
    const { work, transactions } = await cost(() => device.report(status, uuid));
    expect(work.length, work.join('\n')).toBeLessThanOrEqual(4);
    expect(transactions).toBe(1);
    await device.next('Acknowledged', uuid);
  });

  it('a result that somebody consumes owes its work with 1 more', async () => {
    await enqueue(server, device, makeCommand('budget-inventory', 'DeviceInformation'));
    const { work } = await cost(() => device.report('Acknowledged', 'budget-inventory'));
    expect(work.length, work.join('\n')).toBeLessThanOrEqual(5);
  });

  it('a report of an unknown command: at most 2', async () => {
    expect((await cost(() => device.report('Acknowledged', 'nobody'))).work.length).toBeLessThanOrEqual(2);
  });

  it('a last seen of many devices is one statement', async () => {
    const others = await Promise.all(Array.from({ length: 5 }, () => TestDevice.enrolled(server)));
    await server.device.lastSeen.flush();
    roundTrips.length = 0;
    await Promise.all(others.map((other) => other.report('Idle')));
    await server.device.lastSeen.flush();
    expect(statements().filter((sql) => sql.startsWith('INSERT INTO last_seen'))).toHaveLength(1);
  });

  it('reading a bootstrap token: 1 (reference 3); setting one: 1 (reference 3)', async () => {
    expect((await cost(() => device.checkIn('SetBootstrapToken', { BootstrapToken: Buffer.of(1) }))).work).toHaveLength(
      1,
    );
    expect((await cost(() => device.checkIn('GetBootstrapToken'))).work).toHaveLength(1);
  });

  it('UserAuthenticate, GetToken, DeclarativeManagement that are refused: none (reference 1)', async () => {
    expect((await cost(() => device.checkIn('UserAuthenticate'), 410)).work).toEqual([]);
    expect((await cost(() => device.checkIn('GetToken', { TokenServiceType: 'x' }), 400)).work).toEqual([]);
    expect((await cost(() => device.checkIn('DeclarativeManagement', { Endpoint: 'tokens' }), 500)).work).toEqual([]);
  });

  it('what cannot be read or carries no certificate: none', async () => {
    expect((await cost(() => device.put(Buffer.from('garbage')), 400)).work).toEqual([]);
    expect((await cost(() => device.report('Idle', undefined, {}, { signature: null }), 400)).work).toEqual([]);
  });

  it('a certificate that is not associated: reads only, at most the 3 of the reference', async () => {
    const identity = await issueIdentity(server.authority, { commonName: 'stranger' });
    const { work } = await cost(() => device.report('Idle', undefined, {}, { identity }), 403);
    expect(work.length, work.join('\n')).toBeLessThanOrEqual(3);
    expect(work.filter((sql) => !sql.startsWith('SELECT'))).toEqual([]);
  });

  it('enqueue for any number of ids: as many statements for 30 as for 2', async () => {
    const devices = await Promise.all(Array.from({ length: 30 }, () => TestDevice.enrolled(server)));
    const put = (uuid: string, to: readonly TestDevice[]) =>
      cost(() => server.admin('PUT', `/v1/enqueue/${to.map(({ id }) => id).join(',')}?nopush=1`, makeCommand(uuid)));
    const [few, many] = [await put('budget-few', devices.slice(0, 2)), await put('budget-many', devices)];
    expect(many.work).toHaveLength(few.work.length);
    // The reference needs 2; ours is 1 more, because it answers an unknown id with 404 instead of a failed foreign key.
    expect(many.work.length, many.work.join('\n')).toBeLessThanOrEqual(3);
    expect(many.transactions).toBe(1);
  });
});

describe('enrolling is rare, and gathered', () => {
  it('costs a fixed number of statements, whatever the device has', async () => {
    const fresh = await TestDevice.make(server);
    const first = await cost(() => fresh.authenticate());
    const token = await cost(() => fresh.tokenUpdate());
    // More than the reference's 5 and 3 for one device alone; a batch of 256 devices costs the same, in one transaction.
    expect(first.work.length, first.work.join('\n')).toBeLessThanOrEqual(12);
    expect(token.work.length, token.work.join('\n')).toBeLessThanOrEqual(10);
    expect([first.transactions, token.transactions]).toEqual([1, 1]);
  });

  it('many devices at once share transactions', async () => {
    const devices = await Promise.all(Array.from({ length: 24 }, () => TestDevice.make(server)));
    roundTrips.length = 0;
    await Promise.all(devices.map((other) => other.authenticate()));
    expect(statements().filter((sql) => sql.startsWith('COMMIT')).length).toBeLessThan(24);
  });
});
