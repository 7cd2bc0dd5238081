import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type CertificateAuthority,
  createCertificateAuthority,
  issueDeviceCertificate,
} from '../../mdm/certificates/certificate-authority.ts';
import { writePem } from '../../mdm/certificates/read-pem.ts';
import { readPushCertificate } from '../../mdm/certificates/read-push-certificate.ts';
import { readOptions } from '../../simulator/read-options.ts';
import { type AdminCall, type CannedReply, FakeMdmServer } from './fake-mdm-server.ts';

const MAIN = new URL('../../simulator/main.ts', import.meta.url).pathname;
const json = (status: number, value: unknown): CannedReply => ({
  status,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(value),
});

let server: FakeMdmServer;
let dataDir: string;
let ca: CertificateAuthority | undefined;
const children: ChildProcessWithoutNullStreams[] = [];

beforeEach(async () => {
  ca ??= await createCertificateAuthority({ commonName: 'Server', years: 1 });
  server = await FakeMdmServer.start();
  dataDir = await mkdtemp(join(tmpdir(), 'espalier-simulator-'));
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await server.close();
  await rm(dataDir, { recursive: true });
});

/** The admin API's part that a simulation uses, with the key `fig`. */
async function admin({ what, body, authorization }: AdminCall): Promise<CannedReply> {
  if (authorization !== `Basic ${Buffer.from('nanomdm:fig').toString('base64')}`) {
    return { status: 401, body: 'Unauthorized\n' };
  }
  if (what === 'PUT /v1/pushcert') return json(200, { topic: 'kept' });
  if (what.startsWith('PUT /v1/apns/')) return json(200, {});
  if (what !== 'POST /v1/certificates' || ca === undefined) return { status: 404 };
  const issued = await issueDeviceCertificate(ca, body, { days: 1 });
  return issued.ok ? json(201, { certificate: writePem('CERTIFICATE', issued.value) }) : { status: 400 };
}

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const inherited = { PATH: process.env.PATH ?? '' };
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: dataDir, env: { ...inherited, ...env } });
  children.push(child);
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  const exit = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, output, exit };
}

describe('npm run simulate', () => {
  it('--once enrolls over the server’s own CA, polls once, writes the ids, and ends', async () => {
    server.admin = admin;
    await writeFile(join(dataDir, 'api-key'), 'fig\n');
    const args = ['--devices', '4', '--seed', '8', '--url', server.url, '--data-dir', dataDir, '--once'];
    const { output, exit } = run([...args, '--ledger', join(dataDir, 'ledger.jsonl')]);
    expect([await exit, output.stderr]).toEqual([0, '']);
    expect(output.stdout).toContain('Seed 8');
    expect(output.stdout).toContain('4/4 enrolled');
    expect(output.stdout).toMatch(/curl -u "nanomdm:\$\(cat .*api-key\)" -X PUT .*\/v1\/enqueue\//);
    expect(output.stdout).not.toContain('fig');
    const ids = (await readFile(join(dataDir, 'simulator-ids.txt'), 'utf8')).trim().split('\n');
    expect(new Set(server.heard.map(({ enrollmentId }) => enrollmentId))).toEqual(new Set(ids));
    for (const id of ids) expect(server.wordsOf(id).at(-1)).toBe('Idle');
    const ledger = await readFile(join(dataDir, 'ledger.jsonl'), 'utf8');
    expect(ledger.trim().split('\n').length).toBeGreaterThanOrEqual(server.heard.length * 2);
  });

  it('uploads a push certificate of its topic and points the topic at its own APNs, before it enrolls', async () => {
    server.admin = admin;
    const topic = 'com.apple.mgmt.External.pear';
    const { exit } = run(['--devices', '1', '--url', server.url, '--topic', topic, '--once'], { API_KEY: 'fig' });
    expect(await exit).toBe(0);
    const [certificate, apns] = server.adminCalls;
    expect(certificate?.what).toBe('PUT /v1/pushcert');
    const read = readPushCertificate(certificate?.body ?? '');
    expect(read.ok && read.value.topic).toBe(topic);
    expect(apns?.what).toBe(`PUT /v1/apns/${topic}`);
    const target: unknown = JSON.parse(apns?.body ?? '');
    expect(target).toEqual({
      url: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
      ca: expect.stringContaining('BEGIN CERTIFICATE'),
    });
  });

  it('stays, answers a push that comes through its APNs, and ends at Ctrl-C', async () => {
    server.admin = admin;
    const { child, output, exit } = run(['--devices', '1', '--url', server.url, '--json', '--not-now', '0'], {
      API_KEY: 'fig',
    });
    await expect.poll(() => output.stdout, { timeout: 20_000 }).toContain('"event":"waiting"');
    const tokenUpdate = server.heard.find(({ what }) => what === 'TokenUpdate');
    const id = tokenUpdate?.enrollmentId ?? '';
    server.enqueue(id, 'ASKED', { RequestType: 'DeviceInformation', Queries: ['UDID'] });
    await sendPush(
      tokenUpdate?.fields.data('Token')?.toString('hex') ?? '',
      tokenUpdate?.fields.string('PushMagic') ?? '',
    );
    await expect.poll(() => server.reportsOf('ASKED').length, { timeout: 10_000 }).toBeGreaterThan(0);
    child.kill('SIGINT');
    expect(await exit).toBe(0);
    for (const line of output.stdout.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('event');
  });

  it('says that no server is there', async () => {
    const { url } = server;
    await server.close();
    const { output, exit } = run(['--devices', '1', '--url', url], { API_KEY: 'fig' });
    expect(await exit).toBe(1);
    expect(output.stderr).toMatch(/ does not answer: .*ECONNREFUSED.*\nIs the server running\?/);
  });

  it('says that the key is wrong, and that the server is another one', async () => {
    server.admin = admin;
    const wrongKey = run(['--devices', '1', '--url', server.url, '--key', 'plum']);
    expect(await wrongKey.exit).toBe(1);
    expect(wrongKey.output.stderr).toMatch(/the API key is not accepted\n.*--key or API_KEY/);
    server.admin = async () => ({ status: 404, body: '404 page not found\n' });
    const wrongServer = run(['--devices', '1', '--url', server.url, '--key', 'fig']);
    expect(await wrongServer.exit).toBe(1);
    expect(wrongServer.output.stderr).toMatch(/status 404: 404 page not found\nIs .* an Espalier server\?/);
  });

  it('ends with 1 when no device gets in', async () => {
    server.admin = admin;
    server.override = () => ({ status: 400, body: 'Bad Request' });
    const { output, exit } = run(['--devices', '2', '--url', server.url, '--once'], { API_KEY: 'fig' });
    expect(await exit).toBe(1);
    expect(output.stderr).toContain('Authenticate was answered with 400: Bad Request');
  });
});

/** One push, as the server would send it. */
async function sendPush(tokenHex: string, mdm: string): Promise<void> {
  const call = server.adminCalls.find(({ what }) => what.startsWith('PUT /v1/apns/'));
  const certificate = server.adminCalls.find(({ what }) => what === 'PUT /v1/pushcert')?.body ?? '';
  const { url, ca: trusted }: { url: string; ca: string } = JSON.parse(call?.body ?? '');
  const session = connect(url, { ca: trusted, cert: certificate, key: certificate });
  const topic = decodeURIComponent(call?.what.split('/').at(-1) ?? '');
  const stream = session.request({
    ':method': 'POST',
    ':path': `/3/device/${tokenHex}`,
    'apns-topic': topic,
    'apns-push-type': 'mdm',
  });
  const status = new Promise((resolve, reject) => {
    stream.on('response', (headers) => resolve(headers[':status']));
    stream.on('error', reject);
    session.on('error', reject);
  });
  stream.end(JSON.stringify({ mdm }));
  expect(await status).toBe(200);
  session.close();
}

describe('the command line', () => {
  it('names everything that is wrong with it at once', async () => {
    const args = [
      '--devices',
      '0',
      '--not-now',
      '1.5',
      '--slow-ms',
      'x',
      '--apns-port',
      '70000',
      '--topic',
      'pear',
      '--url',
      'ftp://x',
    ];
    const { output, exit } = run(args);
    expect(await exit).toBe(2);
    for (const word of [
      '--devices 0',
      '--not-now 1.5',
      '--slow-ms x',
      '--apns-port 70000',
      '--topic pear',
      '--url ftp://x',
    ]) {
      expect(output.stderr).toContain(word);
    }
    expect(output.stderr).toContain('no API key');
    expect(output.stderr).toContain('Usage:');
  });

  it('refuses unknown options and stray words, and explains itself', async () => {
    expect(readOptions(['--devices', '1', '--speed', '9'], { API_KEY: 'x' })).toMatchObject({ kind: 'wrong' });
    expect(readOptions(['50'], { API_KEY: 'x' })).toMatchObject({ kind: 'wrong' });
    expect(readOptions([], { API_KEY: 'x' })).toMatchObject({ kind: 'wrong', problems: ['--devices is missing'] });
    const { output, exit } = run(['--help']);
    expect([await exit, output.stdout.split('\n')[0]]).toEqual([0, 'Usage: npm run simulate -- --devices N [options]']);
  });

  it('takes the key from --key before API_KEY before the data directory', async () => {
    await writeFile(join(dataDir, 'api-key'), 'from-file\n');
    const keyOf = (args: string[], env: Record<string, string>) => {
      const read = readOptions(['--devices', '1', ...args], { DATA_DIR: dataDir, ...env });
      return read.kind === 'options' ? read.options.apiKey : undefined;
    };
    expect(keyOf(['--key', 'flag'], { API_KEY: 'variable' })).toBe('flag');
    expect(keyOf([], { API_KEY: 'variable' })).toBe('variable');
    expect(keyOf([], {})).toBe('from-file');
  });
});
