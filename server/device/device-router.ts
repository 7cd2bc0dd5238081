import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Log } from '../../config/log.ts';
import { readCheckIn } from '../../mdm/check-in.ts';
import { readCommandReport } from '../../mdm/command-report.ts';
import { refusalOf, ServerError } from '../errors.ts';
import { readBody, refuseUnreadable } from '../read-body.ts';
import { type Answer, sendAnswer, sendRefusal } from './answer.ts';
import { authorize } from './authorize.ts';
import { type CheckInOptions, handleCheckIn } from './handle-check-in.ts';
import { handleReport } from './handle-report.ts';
import { type DeviceIdentity, type IdentifyOptions, identifyDevice } from './identify-device.ts';

export interface DeviceOptions extends CheckInOptions {
  readonly identify: IdentifyOptions;
  readonly maxBodyBytes: number;
  readonly bodyTimeoutMs: number;
}

const CHECK_IN_TYPE = 'application/x-apple-aspen-mdm-checkin';

/** `/mdm` of a server without a separate check-in URL: told apart by Content-Type, case-sensitively (nanomdm §1.1). */
export const combinedHandler = (options: DeviceOptions): RequestListener => {
  const checkIn = checkInHandler(options);
  const report = reportHandler(options);
  return (request, response) =>
    ((request.headers['content-type'] ?? '').startsWith(CHECK_IN_TYPE) ? checkIn : report)(request, response);
};

export const checkInHandler = (options: DeviceOptions): RequestListener =>
  deviceHandler(options, true, (identity, body) => checkIn(options, identity, body));

/** Check-in messages that an admin moves in from another server: no certificate, no association (nanomdm §4.8). */
export const migrationHandler = (options: DeviceOptions): RequestListener =>
  deviceHandler(options, false, (_identity, body) => checkIn(options, undefined, body));

async function checkIn(options: DeviceOptions, identity: DeviceIdentity | undefined, body: Buffer): Promise<Answer> {
  const message = readCheckIn(body);
  if (!message.ok) throw message.error;
  return handleCheckIn(options, identity, message.value, body);
}

export const reportHandler = (options: DeviceOptions): RequestListener =>
  deviceHandler(options, true, async (identity, body) => {
    const report = readCommandReport(body);
    if (!report.ok) throw report.error;
    const speaker = await authorize(options, identity, report.value.enrollment);
    return handleReport(options, speaker, report.value, body);
  });

/** Reads, identifies, answers; whatever is thrown becomes a status and a log line. An answer of 200 means: it is committed. */
function deviceHandler(
  options: DeviceOptions,
  needsIdentity: boolean,
  handle: (identity: DeviceIdentity | undefined, body: Buffer) => Promise<Answer>,
): RequestListener {
  return async (request, response) => {
    try {
      refuseUnreadable(request, options.maxBodyBytes);
      const identify = needsIdentity ? identifyDevice(options.identify, request) : undefined;
      const body = await readBody(request, { maxBytes: options.maxBodyBytes, timeoutMs: options.bodyTimeoutMs });
      sendAnswer(response, await handle(identify?.(body), body));
    } catch (error) {
      refuse(options.log.with({ ip: clientAddress(options.identify, request) }), response, error);
    }
  };
}

/** Who asked, for the log: the last address that is not of a proxy whom the operator trusts. */
function clientAddress({ isTrustedProxy }: IdentifyOptions, request: IncomingMessage): string | undefined {
  const forwarded = String(request.headers['x-forwarded-for'] ?? '')
    .split(',')
    .map((address) => address.trim());
  const hops = [...forwarded, request.socket.remoteAddress ?? ''].filter((address) => address !== '').reverse();
  return hops.find((address) => !isTrustedProxy(address)) ?? hops.at(-1);
}

function refuse(log: Log, response: ServerResponse, error: unknown): void {
  const refusal = refusalOf(error);
  const fields = { status: refusal.status, code: refusal.code, error };
  if (refusal.status === 500) log.error('device.failed', fields);
  else log.info('device.refused', { ...fields, error: error instanceof Error ? error.message : String(error) });
  if (response.headersSent) response.destroy();
  else sendRefusal(response, refusal, error instanceof ServerError ? error.body : undefined);
}
