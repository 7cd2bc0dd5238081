import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawSeed } from './random.ts';

export const USAGE = `Usage: npm run simulate -- --devices N [options]

  --devices N       how many devices to enroll
  --url URL         the server (http://127.0.0.1:9000)
  --key KEY         its API key (API_KEY, or the one in the data directory)
  --data-dir DIR    where the API key is and the ids are written to (DATA_DIR, .espalier)
  --seed S          run the same devices again (drawn and printed)
  --topic TOPIC     push topic (${'com.apple.mgmt.External.'}… of the simulator)
  --apns-port PORT  port of the simulated APNs (0: a free one)
  --apns-host NAME  how the server reaches it (127.0.0.1; another name: it listens on all addresses)
  --not-now P       probability of NotNow per command (0.05)
  --error P         probability of Error per command (0.02)
  --duplicate P     probability that a result is sent twice (0.02)
  --slow-ms MS      a command takes up to this long (0)
  --rsa-share P     share of devices with RSA keys (0.1)
  --concurrency N   enrollments and connections at once (32)
  --ledger FILE     at the end, write what every device saw, as JSON lines
  --once            enroll, poll once, and end
  --json            print JSON lines
`;

/** A topic of its own, always the same: runs do not pile up topics, and no real one is touched. */
const SIMULATOR_TOPIC = 'com.apple.mgmt.External.e5a11e12-0000-4000-8000-000000000001';

export interface SimulatorOptions {
  readonly devices: number;
  readonly url: string;
  readonly apiKey: string;
  /** How a shell gets the key, for the example that is printed: the key itself is not shown. */
  readonly apiKeyInShell: string;
  readonly dataDir: string;
  readonly seed: string;
  readonly topic: string;
  readonly apnsPort: number;
  readonly apnsHost: string;
  readonly notNow: number;
  readonly error: number;
  readonly duplicate: number;
  readonly slowMs: number;
  readonly rsaShare: number;
  readonly concurrency: number;
  readonly ledgerFile: string | undefined;
  readonly isOnce: boolean;
  readonly isJson: boolean;
}

/** What is wrong with the command line, all of it at once; or that only help was asked for. */
export type OptionsRead =
  | { readonly kind: 'options'; readonly options: SimulatorOptions }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly problems: readonly string[] };

const TEXT = { type: 'string' } as const;
const FLAG = { type: 'boolean' } as const;

const FLAGS = {
  devices: TEXT,
  url: TEXT,
  key: TEXT,
  'data-dir': TEXT,
  seed: TEXT,
  topic: TEXT,
  'apns-port': TEXT,
  'apns-host': TEXT,
  'not-now': TEXT,
  error: TEXT,
  duplicate: TEXT,
  'slow-ms': TEXT,
  'rsa-share': TEXT,
  concurrency: TEXT,
  ledger: TEXT,
  once: FLAG,
  json: FLAG,
  help: FLAG,
} as const;

export function readOptions(args: readonly string[], env: Readonly<Record<string, string | undefined>>): OptionsRead {
  const parsed = parseFlags(args);
  if (typeof parsed === 'string') return { kind: 'wrong', problems: [parsed] };
  if (parsed.help === true) return { kind: 'help' };
  const numbers = new NumberReader();
  const dataDir = parsed['data-dir'] ?? env.DATA_DIR ?? '.espalier';
  const key = findApiKey(parsed.key, env.API_KEY, dataDir);
  const options = {
    devices: numbers.integer('devices', parsed.devices, { min: 1, max: 1_000_000 }),
    url: parsed.url ?? 'http://127.0.0.1:9000',
    ...key,
    dataDir,
    seed: parsed.seed ?? String(drawSeed()),
    topic: parsed.topic ?? SIMULATOR_TOPIC,
    apnsPort: numbers.integer('apns-port', parsed['apns-port'] ?? '0', { min: 0, max: 65_535 }),
    apnsHost: parsed['apns-host'] ?? '127.0.0.1',
    notNow: numbers.share('not-now', parsed['not-now'] ?? '0.05'),
    error: numbers.share('error', parsed.error ?? '0.02'),
    duplicate: numbers.share('duplicate', parsed.duplicate ?? '0.02'),
    slowMs: numbers.integer('slow-ms', parsed['slow-ms'] ?? '0', { min: 0, max: 600_000 }),
    rsaShare: numbers.share('rsa-share', parsed['rsa-share'] ?? '0.1'),
    concurrency: numbers.integer('concurrency', parsed.concurrency ?? '32', { min: 1, max: 10_000 }),
    ledgerFile: parsed.ledger,
    isOnce: parsed.once === true,
    isJson: parsed.json === true,
  };
  const problems = [...numbers.problems, ...problemsOf(options, dataDir)];
  return problems.length > 0 ? { kind: 'wrong', problems } : { kind: 'options', options };
}

function problemsOf(
  { url, topic, apiKey }: Pick<SimulatorOptions, 'url' | 'topic' | 'apiKey'>,
  dataDir: string,
): string[] {
  const hasApiKey = apiKey !== '';
  return [
    ...(/^https?:\/\/./.test(url) && URL.canParse(url) ? [] : [`--url ${url}: not an http or https address`]),
    ...(topic.startsWith('com.apple.mgmt.') ? [] : [`--topic ${topic}: does not start with com.apple.mgmt.`]),
    ...(hasApiKey
      ? []
      : [`no API key: give --key or API_KEY, or start the server, which writes ${join(dataDir, 'api-key')}`]),
  ];
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: FLAGS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function findApiKey(flag: string | undefined, variable: string | undefined, dataDir: string) {
  if (flag !== undefined) return { apiKey: flag, apiKeyInShell: '$API_KEY' };
  if (variable !== undefined && variable !== '') return { apiKey: variable, apiKeyInShell: '$API_KEY' };
  const file = join(dataDir, 'api-key');
  const apiKey = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  return { apiKey, apiKeyInShell: `$(cat ${file})` };
}

/** Reads numbers, and gathers what is wrong with them. */
class NumberReader {
  readonly problems: string[] = [];

  integer(
    flag: string,
    text: string | undefined,
    { min, max }: { readonly min: number; readonly max: number },
  ): number {
    const value = text !== undefined && /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    this.problems.push(
      text === undefined ? `--${flag} is missing` : `--${flag} ${text}: not a whole number from ${min} to ${max}`,
    );
    return min;
  }

  share(flag: string, text: string): number {
    const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= 0 && value <= 1) return value;
    this.problems.push(`--${flag} ${text}: not a number from 0 to 1`);
    return 0;
  }
}
