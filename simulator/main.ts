import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdminClient, AdminRequestError } from './admin-client.ts';
import { startFakeApns } from './fake-apns.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { issuedByServer } from './identity-source.ts';
import { makePushCertificate } from './make-push-certificate.ts';
import { Report } from './print-report.ts';
import { readOptions, type SimulatorOptions, USAGE } from './read-options.ts';

const STATUS_EVERY_MS = 5_000;
const SHOWN_IDS = 5;

/** `npm run simulate`: enrolls devices over the real protocol and lets them answer pushes until Ctrl-C. */
async function main(): Promise<void> {
  const read = readOptions(process.argv.slice(2), process.env);
  if (read.kind === 'help') {
    console.log(USAGE);
    return;
  }
  if (read.kind === 'wrong') {
    console.error(`${read.problems.join('\n')}\n\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  try {
    await simulate(read.options, interrupted.signal);
  } catch (error) {
    if (interrupted.signal.aborted) return;
    console.error(explain(error, read.options));
    process.exitCode = 1;
  }
}

async function simulate(options: SimulatorOptions, interrupted: AbortSignal): Promise<void> {
  const { url, apiKey, topic, seed } = options;
  const report = new Report(options.isJson);
  report.say('start', { url, topic, seed, devices: options.devices }, `Seed ${seed}, server ${url}`);
  const apns = await startFakeApns({ port: options.apnsPort, host: options.apnsHost, requireClientCertificate: true });
  try {
    const admin = new AdminClient(url, apiKey);
    await admin.putPushCertificate(await makePushCertificate(topic));
    await admin.putApns(topic, { url: apns.url, ca: apns.caPem });
    const fleet = await startFleet({
      ...options,
      apns,
      identitySource: issuedByServer(url, apiKey),
      behaviour: {
        notNowProbability: options.notNow,
        errorProbability: options.error,
        duplicateProbability: options.duplicate,
        slowMs: options.slowMs,
      },
      onProgress: (progress) => report.progress(progress),
      signal: interrupted,
    });
    await introduce(fleet, options, report);
    if (!options.isOnce) await answerUntil(interrupted, fleet, report);
    await finish(fleet, options);
  } finally {
    await apns.close();
  }
}

async function introduce({ devices, failures }: Fleet, options: SimulatorOptions, report: Report): Promise<void> {
  const ids = devices.flatMap(({ enrollmentIds }) => enrollmentIds);
  const idsFile = join(options.dataDir, 'simulator-ids.txt');
  await mkdir(options.dataDir, { recursive: true });
  await writeFile(idsFile, ids.map((id) => `${id}\n`).join(''));
  const [failure] = failures;
  if (failure !== undefined) {
    process.exitCode = options.isOnce ? 1 : 0;
    report.say(
      'failed',
      { count: failures.length, first: String(failure.error) },
      `The first failure: ${failure.error}`,
    );
  }
  const shown = devices
    .slice(0, SHOWN_IDS)
    .map(({ model }) => `  ${model.udid}  ${model.productName}  ${model.deviceName}`);
  report.say(
    'enrolled',
    { ids: ids.slice(0, SHOWN_IDS), count: ids.length, idsFile },
    `${shown.join('\n')}\nAll ${ids.length} enrollment ids: ${idsFile}\nAsk one of them something:\n${exampleOf(ids[0] ?? '', options)}`,
  );
}

function exampleOf(id: string, { url, apiKeyInShell }: SimulatorOptions): string {
  const command =
    `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>CommandUUID</key><string>${randomUUID().toUpperCase()}</string>` +
    `<key>Command</key><dict><key>RequestType</key><string>SecurityInfo</string></dict></dict></plist>`;
  const address = new URL(`v1/enqueue/${id}`, url.endsWith('/') ? url : `${url}/`);
  return `  curl -u "nanomdm:${apiKeyInShell}" -X PUT --data-binary '${command}' ${address}`;
}

/** Resolves at Ctrl-C; until then the devices answer pushes, and a line says so when something happened. */
async function answerUntil(interrupted: AbortSignal, fleet: Fleet, report: Report): Promise<void> {
  report.say('waiting', {}, 'Answering pushes; Ctrl-C ends it');
  const timer = setInterval(() => report.status(fleet), STATUS_EVERY_MS);
  await new Promise((resolve) => interrupted.addEventListener('abort', resolve, { once: true }));
  clearInterval(timer);
  report.status(fleet);
}

async function finish(fleet: Fleet, { isOnce, ledgerFile }: SimulatorOptions): Promise<void> {
  if (isOnce) await fleet.idle();
  fleet.stop();
  if (ledgerFile !== undefined) await writeFile(ledgerFile, fleet.ledger.toJsonLines());
}

function explain(error: unknown, { url }: SimulatorOptions): string {
  if (!(error instanceof AdminRequestError)) return error instanceof Error ? error.message : String(error);
  if (error.status === null)
    return `${error.message}\nIs the server running? npm start, or give its address with --url.`;
  if (error.status === 401) return `${error.message}\nGive the server's API key with --key or API_KEY.`;
  return `${error.message}\nIs ${url} an Espalier server?`;
}

await main();
