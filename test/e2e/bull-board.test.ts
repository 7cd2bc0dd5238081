import { randomUUID } from 'node:crypto';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fail } from '../../db/outbox.ts';
import { createApiKey } from '../../db/queries/api-keys.ts';
import { transaction } from '../../db/transaction.ts';
import type { Fleet } from '../../simulator/fleet.ts';
import { launchChromium } from '../harness/chromium.ts';
import { SYSTEM_API_KEY, useSystem } from '../harness/system.ts';
import { waitUntilSettled } from '../harness/system-books.ts';
import { wipeRedis } from '../harness/system-chaos.ts';
import { makeCommand } from '../harness/test-device.ts';
import { waitFor } from '../harness/wait-for.ts';

const KINDS = ['maintenance.repush', 'push.send', 'report.process'];
const LAST_ERROR = 'the plum tree is no apple tree';
const system = useSystem({ redis: 'own' });
let fleet: Fleet;
let browser: Browser;
let operatorKey: string;
let observerKey: string;
/** What must not happen in the browser during a test: errors in the console, requests to others than us. */
const complaints: string[] = [];
/** What the browser's console says of an answer that a test asked for. */
const REFUSED = /Failed to load resource.* 40[35] /;

beforeAll(async () => {
  fleet = await system.startFleet({ devices: 3, seed: 'bull-board', opensUserChannels: false });
  [operatorKey, observerKey] = [
    await createApiKey(system.db, 'an operator', 'operator'),
    await createApiKey(system.db, 'an observer', 'observer'),
  ];
  browser = await launchChromium();
}, 600_000);
afterAll(() => browser?.close());
afterEach(() => {
  expect(complaints.splice(0)).toEqual([]);
});

/** A page of a browser that has been given a key, as a person types it into the dialog. */
async function openPage(key: string, isRefused = false): Promise<Page> {
  const context = await browser.newContext({ httpCredentials: { username: 'anybody', password: key } });
  const page = await context.newPage();
  page.on('console', (message) => {
    if (isRefused && REFUSED.test(message.text())) return;
    // A browser that is shown a bare answer asks for this by itself.
    if (message.location().url.endsWith('/favicon.ico')) return;
    if (message.type() === 'error') complaints.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error}`));
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== system.url && protocol !== 'data:') complaints.push(`foreign: ${request.url()}`);
  });
  return page;
}

/** Leaves no request of the page before behind: an aborted one would be an error in the console. */
const visit = (page: Page, url: string): Promise<unknown> => page.goto(url, { waitUntil: 'networkidle' });

const boardUrl = (path = ''): string => `${system.url}/admin/queues${path}`;
const queueUrl = (kind: string, status: string): string => boardUrl(`/queue/${kind}?status=${status}`);
const basic = (key: string) => ({ Authorization: `Basic ${Buffer.from(`anybody:${key}`).toString('base64')}` });

/** Asks a device for its inventory, and gives the host's id. */
async function takeInventory(index: number): Promise<number> {
  const udid = fleet.devices[index]?.udid ?? '';
  const command = makeCommand(randomUUID().toUpperCase(), 'DeviceInformation', { Queries: ['DeviceName'] });
  await system.admin.enqueue([udid], command);
  await waitUntilSettled(system.db, 40_000);
  const [host] = await system.db.rows<{ id: number }>('SELECT id FROM hosts WHERE udid = ?', [udid]);
  return host?.id ?? 0;
}

const processed = async (hostId: number): Promise<number | undefined> =>
  (await system.db.rows<{ count: number }>('SELECT reports_processed AS count FROM hosts WHERE id = ?', [hostId]))[0]
    ?.count;

/** A host whose last result waits again, and whose row has run out of attempts; the relay shows it after a wipe. */
async function makeFailedRow(hostId: number): Promise<void> {
  await transaction(system.db, async (t) => {
    await t.run(
      'UPDATE command_results r JOIN enrollments e ON e.id = r.enrollment_id SET r.process_host_id = e.host_id WHERE e.host_id = ?',
      [hostId],
    );
    t.owe('report.process', [String(hostId)], { inMs: 3_600_000 });
  });
  const failure = { error: LAST_ERROR, backoffMs: 0, limit: 0, counted: false };
  await transaction(system.db, (t) => fail(t, 'report.process', String(hostId), failure));
  await wipeRedis(system.redisUrl);
}

describe('an operator', () => {
  it('sees the queues, and the job of a push that did not get through at first', async () => {
    system.apns.answerNext(1, { status: 503, reason: 'ServiceUnavailable' });
    await takeInventory(0);
    const page = await openPage(operatorKey);
    await visit(page, boardUrl());
    expect(await page.title()).toBe('Espalier');
    for (const kind of KINDS) await page.locator(`main a[title="${kind}"]`).waitFor();
    await visit(page, queueUrl('push.send', 'completed'));
    await page.getByText('Finished at').first().waitFor();
    await visit(page, queueUrl('report.process', 'completed'));
    await page.getByText('Finished at').first().waitFor();
    await page.context().close();
  });

  it('finds a failed row with its last error, presses Retry, and it runs', async () => {
    const hostId = await takeInventory(1);
    const before = await processed(hostId);
    await makeFailedRow(hostId);
    const page = await openPage(operatorKey);
    await waitFor('the failed row to be shown', async () => {
      await visit(page, queueUrl('report.process', 'failed'));
      return page
        .getByText(LAST_ERROR)
        .first()
        .waitFor({ timeout: 1_000 })
        .then(() => true);
    });
    const retry = page.locator('button:has(svg.lucide-refresh-cw)').filter({ hasNotText: 'Retry all' });
    await retry.click();
    await page.getByRole('button', { name: 'Confirm' }).click();
    await waitFor('the result to be processed again', async () => (await processed(hostId)) === (before ?? 0) + 1);
    await page.getByText('No failed jobs in this queue.').waitFor();
    await page.context().close();
    await waitUntilSettled(system.db, 20_000);
  });
});

describe('an observer', () => {
  it('sees the same and finds nothing to press', async () => {
    const hostId = await takeInventory(2);
    await makeFailedRow(hostId);
    const page = await openPage(observerKey, true);
    await waitFor('the failed row to be shown', async () => {
      await visit(page, queueUrl('report.process', 'failed'));
      return page
        .getByText(LAST_ERROR)
        .first()
        .waitFor({ timeout: 1_000 })
        .then(() => true);
    });
    for (const icon of ['refresh-cw', 'trash', 'trash-2', 'pencil', 'files', 'ellipsis-vertical'])
      expect(await page.locator(`button:has(svg.lucide-${icon})`).count(), icon).toBe(0);
    const paths = ['/api/queues/report.process/retry/failed', '/api/queues/report.process/pause'];
    const statuses = await page.evaluate(
      (urls) => Promise.all(urls.map((url) => fetch(url, { method: 'PUT' }).then((response) => response.status))),
      paths.map(boardUrl),
    );
    expect(statuses.map((status) => [403, 405].includes(status))).toEqual([true, true]);
    await page.context().close();
    const failed = await system.db.rows('SELECT `key` FROM outbox WHERE failed_at IS NOT NULL');
    expect(failed).toEqual([{ key: String(hostId) }]);
    // A new owing revives it.
    await transaction(system.db, async (t) => void t.owe('report.process', [String(hostId)], { bulk: true }));
    await waitUntilSettled(system.db, 20_000);
  });
});

describe('a stranger', () => {
  it('gets 401 for every part of the board', async () => {
    for (const path of ['', '/', '/api/queues', '/static/js/main.js', '/queue/push.send']) {
      const response = await fetch(boardUrl(path), { redirect: 'manual' });
      expect([path, response.status]).toEqual([path, 401]);
      expect(response.headers.get('www-authenticate')).toMatch(/^Basic /);
      expect((await fetch(boardUrl(path), { headers: basic('no-key'), redirect: 'manual' })).status).toBe(401);
    }
  });

  it('cannot make an operator’s browser press anything from another site', async () => {
    const press = (headers: Record<string, string>) =>
      fetch(boardUrl('/api/queues/report.process/pause'), {
        method: 'PUT',
        headers: { ...basic(SYSTEM_API_KEY), ...headers },
      }).then((response) => response.status);
    expect(await press({ 'Sec-Fetch-Site': 'cross-site' })).toBe(403);
    expect(await press({ 'Sec-Fetch-Site': 'same-site' })).toBe(403);
    expect(await press({ Origin: 'https://evil.example' })).toBe(403);
    expect(await press({ Origin: 'null' })).toBe(403);
    const page = await openPage(operatorKey, true);
    await visit(page, boardUrl());
    // A page of another origin, in the browser that knows the operator's key.
    await page.goto(
      `data:text/html,<form method=post action="${boardUrl('/api/queues/report.process/pause')}"><button>win</button></form>`,
    );
    const [answer] = await Promise.all([
      page.waitForResponse(boardUrl('/api/queues/report.process/pause')),
      page.getByText('win').click(),
    ]);
    expect(answer.status()).toBe(403);
    await page.context().close();
  });
});
