import { z } from 'zod';
import { Secret } from './secret.ts';

const secret = z
  .string()
  .min(1)
  .transform((value) => new Secret(value));
const flag = z
  .enum(['0', '1', 'true', 'false', 'on', 'off', ''])
  .transform((value) => ['1', 'true', 'on'].includes(value));
const positive = z.coerce.number().int().positive();
const port = z.coerce.number().int().min(0).max(65_535);

/** 32 bytes as 64 hex digits or base64. */
const secretKey = z.string().transform((text, context) => {
  const key = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  if (key.length === 32) return new Secret(key);
  context.addIssue({ code: 'custom', message: 'must be 32 bytes, as 64 hex digits or base64' });
  return z.NEVER;
});

/** Every variable that a process reads, with its meaning and default. Nothing else reads the environment. */
export const ENVIRONMENT = z.object({
  DATABASE_URL: z.string().min(1).describe('mysql://user:password@host:3306/database, or ?socketPath=/path'),
  REDIS_URL: z.string().min(1).describe('redis://host:6379, rediss://…, or unix:///path'),
  REDIS_PREFIX: z.string().default('espalier').describe('prefix of all keys; {espalier} on a cluster'),
  SECRET_KEY: secretKey.describe('encrypts secrets at rest'),
  SECRET_KEYS_OLD: z
    .string()
    .default('')
    .transform((text) => text.split(',').filter((key) => key !== ''))
    .pipe(z.array(secretKey))
    .describe('former SECRET_KEYs, comma-separated: still read, never written'),
  API_KEY: secret.describe("the administrator's first key: Basic password or Bearer token"),
  HOST: z.string().default('0.0.0.0').describe('address to listen on'),
  PORT: port.default(9000).describe('port to listen on'),
  PUBLIC_URL: z.url().optional().describe('how devices reach this server'),
  DATA_DIR: z.string().default('.espalier').describe('the data of the embedded stack'),
  TRUST_PROXY: z.string().default('').describe('addresses of proxies to believe: loopback, 10.0.0.0/8, …'),
  CERT_HEADER: z
    .string()
    .default('')
    .describe('header in which a trusted proxy passes the device certificate; turns Mdm-Signature off'),
  CA_FILE: z.string().default('').describe('PEM file of further device CAs'),
  INTERMEDIATE_FILE: z.string().default('').describe('PEM file of intermediates'),
  CERT_GRACE_DAYS: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('days for which an expired device certificate is still heard'),
  CERT_RETRO: flag.default(false).describe('associate an unknown certificate at first contact'),
  SEPARATE_CHECKIN: flag.default(false).describe('check-ins only at /checkin, reports only at /mdm'),
  MIGRATION: flag.default(false).describe('serve /migration'),
  USER_AUTHENTICATE: z
    .enum(['gone', 'zero-length'])
    .default('gone')
    .describe('answer to UserAuthenticate: 410, or the zero-length digest challenge'),
  DM_URL: z.url().optional().describe('declarative management is proxied there'),
  DM_SEND_HMAC_KEY: secret.optional(),
  DM_RECV_HMAC_KEY: secret.optional(),
  TOKENS_FILE: z.string().default('').describe('JSON file: TokenServiceType → base64 token for GetToken'),
  APNS_URL: z.url().default('https://api.push.apple.com').describe('where pushes go unless a topic says otherwise'),
  APNS_CA_FILE: z.string().default('').describe('PEM file of further CAs for APNS_URL'),
  ESCROW_UNLOCK_URL: z
    .url()
    .default('https://deviceservices-external.apple.com/deviceservicesworkers/escrowKeyUnlock')
    .describe("Apple's Activation Lock escrow service"),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'silent']).default('info'),
  METRICS_PORT: port.optional().describe('serve /metrics, /healthz and /readyz there instead of to loopback only'),
  WORKER_METRICS_PORT: port.optional().describe('serve /metrics and /healthz of a worker process there'),
  DATABASE_POOL: positive.default(16).describe('connections of one process'),
  WORKER_QUEUES: z.string().default('').describe('job kinds of this worker, comma-separated; * as suffix; default all'),
  WORKER_CONCURRENCY: positive.optional().describe('jobs side by side per kind; default per kind'),
  REPUSH_AFTER_SECONDS: positive.default(600).describe('first repush of an unanswered command; doubles to a day'),
  SHUTDOWN_SECONDS: positive.default(20).describe('what a graceful stop may take'),
});

export type Environment = z.output<typeof ENVIRONMENT>;

/** What the small programs need: migrate, doctor, api-key. */
export const DATABASE_ENVIRONMENT = ENVIRONMENT.pick({
  DATABASE_URL: true,
  LOG_LEVEL: true,
  SECRET_KEY: true,
  SECRET_KEYS_OLD: true,
  DATABASE_POOL: true,
});

/** The environment is wrong: the message names every wrong variable at once. */
export class EnvironmentError extends Error {}

/** `--port 9001`, `--port=9001` and `--migration` as the variables of the same names. */
export function flagsToVariables(args: readonly string[]): Record<string, string> {
  const variables: Record<string, string> = {};
  for (let i = 0; i < args.length; i++) {
    const match = /^--([a-z][a-z0-9-]*)(?:=(.*))?$/s.exec(args[i] ?? '');
    if (match === null) throw new EnvironmentError(`unexpected argument ${args[i]}`);
    const next = args[i + 1];
    const value = match[2] ?? (next === undefined || next.startsWith('--') ? '1' : next);
    if (match[2] === undefined && value === next) i++;
    variables[(match[1] ?? '').replaceAll('-', '_').toUpperCase()] = value;
  }
  return variables;
}

const WORKER_ENVIRONMENT = ENVIRONMENT.omit({ API_KEY: true });
export type WorkerEnvironment = z.output<typeof WORKER_ENVIRONMENT>;

/** The environment of a worker process: it has no use for the API key. See {@link readVariables}. */
export const readWorkerEnvironment = (
  args: readonly string[] = process.argv.slice(2),
  variables: NodeJS.ProcessEnv = process.env,
): WorkerEnvironment => readVariables(WORKER_ENVIRONMENT, args, variables);

/** Reads and checks the whole environment of a server, see {@link readVariables}. */
export function readEnvironment(
  args: readonly string[] = process.argv.slice(2),
  variables: NodeJS.ProcessEnv = process.env,
): Environment {
  const environment = readVariables(ENVIRONMENT, args, variables);
  if (environment.CERT_HEADER !== '' && environment.TRUST_PROXY === '') {
    throw new EnvironmentError('wrong configuration:\n  TRUST_PROXY: must name the proxies that may send CERT_HEADER');
  }
  return environment;
}

/** Flags that stand for no variable, each named. @throws EnvironmentError */
export function checkFlags(flags: Record<string, string>, known: readonly string[]): void {
  const unknown = Object.keys(flags).filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new EnvironmentError(`wrong configuration:\n  ${unknown.map(nameless).join('\n  ')}`);
}

const nameless = (name: string): string => `--${name.replaceAll('_', '-').toLowerCase()}: no such option`;

/** All variables with their meaning, for `--help`. */
export const describeVariables = (): string =>
  Object.entries(ENVIRONMENT.shape)
    .map(([name, { description = '' }]) => `  --${name.replaceAll('_', '-').toLowerCase().padEnd(24)}${description}`)
    .join('\n');

/**
 * Reads and checks the variables of a schema; flags win over variables, empty variables count as unset.
 * @throws EnvironmentError naming every wrong or missing variable
 */
export function readVariables<T extends z.ZodObject>(
  schema: T,
  args: readonly string[],
  variables: NodeJS.ProcessEnv = process.env,
): z.output<T> {
  const flags = flagsToVariables(args);
  const unknown = Object.keys(flags).filter((name) => !(name in schema.shape));
  const given = Object.fromEntries(Object.entries({ ...variables, ...flags }).filter(([, value]) => value !== ''));
  const parsed = schema.safeParse(given);
  const problems = unknown.map(nameless);
  if (!parsed.success)
    problems.push(...parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`));
  if (!parsed.success || problems.length > 0)
    throw new EnvironmentError(`wrong configuration:\n  ${problems.join('\n  ')}`);
  return parsed.data;
}
