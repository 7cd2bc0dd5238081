import type { RequestHandler } from 'express';
import { isDuplicate } from '../../db/errors.ts';
import { readEnrolledIds, UnknownEnrollments } from '../../db/queries/enqueue-command.ts';
import { transaction } from '../../db/transaction.ts';
import { type Command, MAX_COMMAND_BYTES, readCommand } from '../../mdm/command.ts';
import { foldEnrollmentId } from '../../mdm/enrollment-id.ts';
import { refusalOf, ServerError } from '../errors.ts';
import { readBody } from '../read-body.ts';
import { queryValue, readEnrollmentIds } from './enrollment-ids.ts';
import { sendJson } from './nano-json.ts';
import { type NanoResult, nanoStatusCode, pushStatus } from './nano-results.ts';
import { type PushNowOptions, pushNow } from './push-now.ts';
import { CommandQueueing, owePushes, type QueueCall, type Queued } from './queue-commands.ts';

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
  const queueing = new CommandQueueing(options.db);
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
      const call = { command, body, noPush, context: readContext(request.originalUrl) };
      const queued = await enqueue(queueing, call, ids);
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
const pushQueued = (options: PushNowOptions, queued: PushedIds): Promise<ReturnType<typeof pushStatus>> =>
  pushByIds(options, queued).then(pushStatus, (error: unknown) => {
    options.log.error('api.failed', { error });
    return { push_error: 'internal error' };
  });

async function sendPushes(
  options: PushNowOptions,
  response: Parameters<RequestHandler>[1],
  ids: readonly string[],
): Promise<void> {
  const keys = ids.map(foldEnrollmentId);
  const queued = await transaction(options.db, async (t): Promise<Queued> => {
    const idOf = await readEnrolledIds(t, keys);
    return { idOf, owed: owePushes(t, keys, idOf) };
  });
  const result: NanoResult = pushStatus(await pushByIds(options, { ...queued, ids }));
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

async function enqueue(
  queueing: CommandQueueing,
  call: Omit<QueueCall, 'keys'>,
  ids: readonly string[],
): Promise<PushedIds> {
  const keys = ids.map(foldEnrollmentId);
  if (new Set(keys).size < keys.length) throw new EnqueueRefused(400, 'an enrollment id is repeated');
  const answer = await queueing.queue({ ...call, keys });
  if (!('unknownKeys' in answer)) return { ...answer, ids };
  const unknown = new Set(answer.unknownKeys);
  throw new UnknownEnrollments(ids.filter((id) => unknown.has(foldEnrollmentId(id))));
}

interface PushedIds extends Queued {
  readonly ids: readonly string[];
}

async function pushByIds(options: PushNowOptions, { owed, idOf, ids }: PushedIds) {
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
