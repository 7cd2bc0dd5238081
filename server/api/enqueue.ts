import type { RequestHandler } from 'express';
import { isDuplicate } from '../../db/errors.ts';
import type { TakenRow } from '../../db/outbox.ts';
import { API_PRIORITY, insertCommand, readEnrolledIds, UnknownEnrollments } from '../../db/queries/enqueue-command.ts';
import type { Transaction } from '../../db/transaction.ts';
import { transaction } from '../../db/transaction.ts';
import { type Command, MAX_COMMAND_BYTES, readCommand } from '../../mdm/command.ts';
import { foldEnrollmentId } from '../../mdm/enrollment-id.ts';
import { refusalOf, ServerError } from '../errors.ts';
import { readBody } from '../read-body.ts';
import { queryValue, readEnrollmentIds } from './enrollment-ids.ts';
import { sendJson } from './nano-json.ts';
import { type NanoResult, nanoStatusCode, pushStatus } from './nano-results.ts';
import { PUSHED_HERE_MS, type PushNowOptions, pushNow } from './push-now.ts';

export const ENQUEUE_PATH = '/v1/enqueue/';
export const PUSH_PATH = '/v1/push/';
const BODY_TIMEOUT_MS = 60_000;
const CONTEXT = /^[\x21-\x7e]{1,96}$/;

/** Something is wrong with the whole call: nothing was queued. */
class EnqueueRefused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** `PUT /v1/enqueue/{ids}[?nopush=1][&context=…]` with a raw command plist: queues it for all ids or for none, then pushes (nanomdm §4.6). */
export function enqueueHandler(options: PushNowOptions): RequestHandler {
  return async (request, response) => {
    const ids = readEnrollmentIds(request.originalUrl, ENQUEUE_PATH);
    if (ids === undefined) return sendJson(response, 400, { command_error: 'getting enrollment ids: empty path' });
    const noPush = (queryValue(request.originalUrl, 'nopush') ?? '') !== '';
    const base: NanoResult = noPush ? { no_push: true } : {};
    let command: Command | undefined;
    try {
      const body = await readBody(request, { maxBytes: MAX_COMMAND_BYTES, timeoutMs: BODY_TIMEOUT_MS });
      if (body.length === 0 && noPush) throw new EnqueueRefused(400, 'must enqueue or push');
      if (body.length === 0) return await sendPushes(options, response, ids);
      command = decode(body);
      const queued = await enqueue(options, command, body, ids, noPush, readContext(request.originalUrl));
      options.log.info('command.queued', {
        commandUUID: command.commandUuid,
        requestType: command.requestType,
        ids: ids.length,
        noPush,
      });
      const pushes = noPush ? {} : await pushQueued(options, queued);
      const result: NanoResult = {
        ...(pushes.status && { status: pushes.status }),
        ...base,
        ...(pushes.push_error !== undefined && { push_error: pushes.push_error }),
        ...echo(command),
      };
      sendJson(response, nanoStatusCode(result, ids.length), result);
    } catch (error) {
      const { status, message } = describe(options, error);
      sendJson(response, status, { ...base, command_error: message, ...(command && echo(command)) });
    }
  };
}

/** `/v1/push/{ids}`: pushes now (nanomdm §4.5). */
export function pushHandler(options: PushNowOptions): RequestHandler {
  return async (request, response) => {
    const ids = readEnrollmentIds(request.originalUrl, PUSH_PATH);
    if (ids === undefined) return sendJson(response, 400, { push_error: 'getting enrollment ids: empty path' });
    try {
      await sendPushes(options, response, ids);
    } catch (error) {
      sendJson(response, refusalOf(error).status, { push_error: describe(options, error).message });
    }
  };
}

/** The command is committed: whatever goes wrong now is a push error, and a worker makes up for it (nanomdm §4.6). */
const pushQueued = (options: PushNowOptions, queued: Queued): Promise<ReturnType<typeof pushStatus>> =>
  pushByIds(options, queued).then(pushStatus, (error: unknown) => {
    options.log.error('api.failed', { error });
    return { push_error: 'internal error' };
  });

async function sendPushes(
  options: PushNowOptions,
  response: Parameters<RequestHandler>[1],
  ids: readonly string[],
): Promise<void> {
  const owed = await transaction(options.db, async (t) =>
    owePushes(t, await readEnrolledIds(t, ids.map(foldEnrollmentId))),
  );
  const result: NanoResult = pushStatus(await pushByIds(options, { owed: owed.rows, idOf: owed.idOf, ids }));
  sendJson(response, nanoStatusCode(result, ids.length), result);
}

const echo = (command: Command): NanoResult => ({
  command_uuid: command.commandUuid,
  request_type: command.requestType,
});

function decode(body: Buffer): Command {
  const command = readCommand(body);
  if (command.ok) return command.value;
  const isWrongCommand = command.error.code === 'command.invalid' || command.error.code === 'message.field';
  if (isWrongCommand) throw new EnqueueRefused(400, `decoding command: ${command.error.message}`);
  throw new EnqueueRefused(
    command.error.status,
    `decoding command: parse error: ${command.error.message}: raw content: ${body.subarray(0, 200).toString()}`,
  );
}

/** `context` is the caller's own word for a command; it is kept with it. */
function readContext(url: string): string | undefined {
  const context = queryValue(url, 'context');
  if (context !== undefined && !CONTEXT.test(context))
    throw new EnqueueRefused(400, 'context must be 1 to 96 visible ASCII characters');
  return context;
}

interface Queued {
  readonly owed: readonly TakenRow[];
  /** Internal ids by folded enrollment id. */
  readonly idOf: ReadonlyMap<string, number>;
  readonly ids: readonly string[];
}

async function enqueue(
  { db }: PushNowOptions,
  command: Command,
  body: Buffer,
  ids: readonly string[],
  noPush: boolean,
  context: string | undefined,
): Promise<Queued> {
  const keys = ids.map(foldEnrollmentId);
  if (new Set(keys).size < keys.length) throw new EnqueueRefused(400, 'an enrollment id is repeated');
  return transaction(db, async (t) => {
    const idOf = await readEnrolledIds(t, keys);
    const unknown = ids.filter((id) => !idOf.has(foldEnrollmentId(id)));
    if (unknown.length > 0) throw new UnknownEnrollments(unknown);
    await insertCommand(t, db.secrets, { ...command, priority: API_PRIORITY, origin: 'api', originId: context, body }, [
      ...idOf.values(),
    ]);
    return { owed: noPush ? [] : owePushes(t, idOf).rows, idOf, ids };
  });
}

function owePushes(
  t: Transaction,
  idOf: ReadonlyMap<string, number>,
): { rows: TakenRow[]; idOf: ReadonlyMap<string, number> } {
  return { rows: t.owe('push.send', [...idOf.values()].map(String), { inMs: PUSHED_HERE_MS }), idOf };
}

async function pushByIds(options: PushNowOptions, { owed, idOf, ids }: Queued) {
  const results = owed.length > 0 ? await pushNow(options, owed) : new Map();
  return ids.map((id) => [id, results.get(idOf.get(foldEnrollmentId(id)) ?? -1)] as const);
}

function describe({ log }: PushNowOptions, error: unknown): { status: number; message: string } {
  if (error instanceof EnqueueRefused || error instanceof ServerError)
    return { status: error.status, message: error.message };
  if (error instanceof UnknownEnrollments) return { status: 404, message: error.message };
  if (isDuplicate(error)) return { status: 409, message: 'CommandUUID exists already' };
  const { status } = refusalOf(error);
  log.error('api.failed', { error });
  return { status, message: status === 503 ? 'the database cannot be reached' : 'internal error' };
}
