import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Declaration } from '../../simulator/declarations/declaration.ts';
import { evaluateDeclarations } from '../../simulator/declarations/evaluate-declarations.ts';
import { type CannedReply, FakeMdmServer, type Heard } from './fake-mdm-server.ts';
import { makeTestDevice, type TestDevice } from './make-test-device.ts';

const declare = (
  Type: string,
  Identifier: string,
  Payload: Declaration['Payload'] = {},
  ServerToken = '1',
): Declaration => ({
  Type,
  Identifier,
  ServerToken,
  Payload,
});
const activation = (...StandardConfigurations: string[]) =>
  declare('com.apple.activation.simple', 'activation', { StandardConfigurations });
const subscriptions = (...names: string[]) =>
  declare('com.apple.configuration.management.status-subscriptions', 'subscriptions', {
    StatusItems: names.map((Name) => ({ Name })),
  });

/** Serves declarations over the check-in, as a server with declarative management does. */
class FakeDeclarations {
  declarations: Declaration[] = [];
  token = 'T1';
  readonly asked: string[] = [];
  readonly reports: { StatusItems: Record<string, unknown>; Errors: unknown[]; FullReport?: boolean }[] = [];

  answer = ({ what, fields }: Heard): CannedReply | undefined => {
    if (what !== 'DeclarativeManagement') return undefined;
    const endpoint = fields.string('Endpoint') ?? '';
    this.asked.push(endpoint);
    if (endpoint === 'tokens') return this.#json({ SyncTokens: { DeclarationsToken: this.token, Timestamp: '' } });
    if (endpoint === 'declaration-items') return this.#json(this.#manifest());
    if (endpoint === 'status') {
      this.reports.push(JSON.parse(fields.data('Data')?.toString('utf8') ?? ''));
      return { status: 200 };
    }
    const found = this.declarations.find(({ Identifier }) => endpoint.endsWith(`/${Identifier}`));
    return found === undefined ? { status: 404 } : this.#json(found);
  };

  #json(value: unknown): CannedReply {
    return { status: 200, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) };
  }

  #manifest() {
    const of = (kind: string) => this.declarations.filter(({ Type }) => Type.startsWith(`com.apple.${kind}.`));
    return {
      Declarations: {
        Activations: of('activation'),
        Assets: of('asset'),
        Configurations: of('configuration'),
        Management: of('management'),
      },
      DeclarationsToken: this.token,
    };
  }
}

let server: FakeMdmServer;
let declarations: FakeDeclarations;
let test: TestDevice;
let commands = 0;

beforeEach(async () => {
  server = await FakeMdmServer.start();
  declarations = new FakeDeclarations();
  test = await makeTestDevice(server.url);
  await test.device.enroll();
  server.override = declarations.answer;
});

afterEach(async () => {
  test.stop();
  await server.close();
});

/** The command that makes a device look. */
async function notice(): Promise<void> {
  const { device } = test;
  server.enqueue(device.udid, `NOTICE${commands++}`, { RequestType: 'DeclarativeManagement' });
  await device.poll();
}

describe('declarative management', () => {
  it('fetches the set in order and reports once, in full', async () => {
    declarations.declarations = [activation('subscriptions'), subscriptions('device.model.family', 'no.such.item')];
    await notice();
    expect(declarations.asked).toEqual([
      'tokens',
      'declaration-items',
      'declaration/activation/activation',
      'declaration/configuration/subscriptions',
      'tokens',
      'status',
    ]);
    const [report] = declarations.reports;
    expect(report?.FullReport).toBe(true);
    expect(report?.StatusItems).toMatchObject({
      device: { model: { family: 'Mac' } },
      management: {
        declarations: {
          activations: [{ identifier: 'activation', 'server-token': '1', active: true, valid: 'valid' }],
          configurations: [{ identifier: 'subscriptions', active: true, valid: 'valid' }],
        },
        'client-capabilities': {},
      },
    });
    expect(report?.Errors).toMatchObject([{ StatusItem: 'no.such.item' }]);
  });

  it('does nothing when the token is the applied one, and fetches only what changed when it is not', async () => {
    declarations.declarations = [activation('one', 'two'), declare('com.apple.configuration.a', 'one')];
    declarations.declarations.push(declare('com.apple.configuration.b', 'two'));
    await notice();
    declarations.asked.length = 0;
    await notice();
    expect(declarations.asked).toEqual(['tokens']);
    declarations.token = 'T2';
    declarations.declarations = [activation('one'), declare('com.apple.configuration.a', 'one', {}, '2')];
    await notice();
    expect(declarations.asked.slice(1)).toEqual([
      'tokens',
      'declaration-items',
      'declaration/configuration/one',
      'tokens',
      'status',
    ]);
    expect(test.device.declarations?.declarations.map(({ Identifier }) => Identifier).sort()).toEqual([
      'activation',
      'one',
    ]);
    expect(declarations.reports.at(-1)?.FullReport).toBeUndefined();
  });

  it('drops a declaration that answers 404, and stops after three rounds of a set that does not stand still', async () => {
    declarations.declarations = [activation()];
    let tokens = 0;
    server.override = (heard) => {
      if (heard.fields.string('Endpoint') === 'tokens') declarations.token = `T${tokens++}`;
      if (heard.fields.string('Endpoint')?.startsWith('declaration/')) return { status: 404 };
      return declarations.answer(heard);
    };
    await notice();
    expect(tokens).toBe(3);
    expect(test.device.declarations?.declarations).toEqual([]);
    expect(declarations.reports).toHaveLength(1);
  });

  it('of a server without it is tried once, and the queue goes on', async () => {
    server.override = ({ what }) => (what === 'DeclarativeManagement' ? { status: 500 } : undefined);
    server.enqueue(test.device.udid, 'BEFORE', { RequestType: 'DeclarativeManagement' });
    server.enqueue(test.device.udid, 'NEXT', { RequestType: 'UserList' });
    await test.device.poll();
    expect(server.wordsOf(test.device.udid).slice(-2)).toEqual(['Acknowledged BEFORE', 'Acknowledged NEXT']);
    const asked = test.device.ledger.events.filter((event) => event.kind === 'check-in.sent');
    expect(asked.filter(({ messageType }) => messageType === 'DeclarativeManagement')).toHaveLength(1);
  });

  it('is forgotten by an erasure', async () => {
    declarations.declarations = [activation()];
    await notice();
    server.enqueue(test.device.udid, 'ERASE', { RequestType: 'EraseDevice' });
    await test.device.poll();
    await test.activity.idle();
    expect(test.device.declarations?.declarations).toEqual([]);
  });
});

describe('the verdict on declarations', () => {
  const verdicts = (...set: Declaration[]) =>
    Object.fromEntries(
      evaluateDeclarations(set).map(({ identifier, active, valid, reasons }) => [
        identifier,
        [active, valid, ...reasons.map(({ code }) => code)],
      ]),
    );

  it('activates what an activation names, and the assets of that', () => {
    const account = declare('com.apple.configuration.account.mail', 'mail', {
      IncomingServer: { AuthenticationCredentialsAssetReference: 'password' },
    });
    const asset = declare('com.apple.asset.credential.userpassword', 'password');
    expect(verdicts(activation('mail'), account, asset)).toEqual({
      activation: [true, 'valid'],
      mail: [true, 'valid'],
      password: [true, 'valid'],
    });
  });

  it('says why something is not active', () => {
    const alone = declare('com.apple.configuration.passcode.settings', 'alone');
    const asset = declare('com.apple.asset.data', 'asset');
    const properties = declare('com.apple.management.properties', 'properties');
    expect(verdicts(alone, asset, properties)).toEqual({
      alone: [false, 'valid', 'Info.NotReferencedByActivation'],
      asset: [false, 'valid', 'Info.NotReferencedByConfiguration'],
      properties: [false, 'valid'],
    });
  });

  it('refuses missing references, unknown kinds, and the test that asks for it', () => {
    const needy = declare('com.apple.configuration.legacy', 'needy', { DataAssetReference: 'absent' });
    const failing = declare('com.apple.configuration.management.test', 'failing', { ReturnStatus: 'Failed' });
    expect(verdicts(activation('absent'), needy, failing, declare('org.example.odd', 'odd'))).toEqual({
      activation: [false, 'invalid', 'Error.MissingConfigurations'],
      needy: [false, 'invalid', 'Error.MissingAssets'],
      failing: [false, 'invalid', 'Error.ConfigurationFailed'],
      odd: [false, 'invalid', 'Error.ConfigurationNotSupported'],
    });
  });
});
