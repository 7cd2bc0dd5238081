import { LoadConnection, type Reply } from './load-connection.ts';
import { head, type LoadDevice, makeCommand, newCommandUuid } from './load-fleet.ts';

export interface Target {
  readonly url: string;
  readonly apiKey: string;
}

export interface RunLimits {
  readonly target: Target;
  readonly concurrency: number;
  readonly seconds: number;
}

export interface LoadResult {
  /** Units of work: enrollments, polls, cycles, calls. */
  readonly count: number;
  readonly requests: number;
  readonly seconds: number;
  /** Milliseconds of every request. */
  readonly latencies: Float64Array;
}

/** Puts load on a target until `work` says that there is no more or the time is over. Any answer that is not as it should be ends the run. */
async function drive(
  { target, concurrency, seconds }: RunLimits,
  work: (send: (request: Uint8Array) => Promise<Reply>) => Promise<boolean>,
): Promise<LoadResult> {
  const url = new URL(target.url);
  const connections = await Promise.all(Array.from({ length: concurrency }, () => LoadConnection.open(url)));
  const latencies: number[] = [];
  let count = 0;
  const startedAt = performance.now();
  const deadline = startedAt + seconds * 1_000;
  const lane = async (connection: LoadConnection): Promise<void> => {
    const send = async (request: Uint8Array): Promise<Reply> => {
      const sentAt = performance.now();
      const reply = await connection.send(request);
      latencies.push(performance.now() - sentAt);
      if (reply.status !== 200)
        throw new Error(`answered with ${reply.status}: ${reply.body.toString().slice(0, 200)}`);
      return reply;
    };
    while (performance.now() < deadline && (await work(send))) count += 1;
  };
  try {
    await Promise.all(connections.map(lane));
  } finally {
    for (const connection of connections) connection.close();
  }
  return {
    count,
    requests: latencies.length,
    seconds: (performance.now() - startedAt) / 1_000,
    latencies: Float64Array.from(latencies),
  };
}

const ofEach = (devices: readonly LoadDevice[]): (() => LoadDevice | undefined) => {
  let next = 0;
  return () => devices[next++];
};

/** Authenticate and TokenUpdate of each device, until all are enrolled or the time is over. */
export function enroll(devices: readonly LoadDevice[], limits: RunLimits): Promise<LoadResult> {
  const next = ofEach(devices);
  return drive(limits, async (send) => {
    const device = next();
    if (device === undefined) return false;
    await send(device.authenticate);
    await send(device.tokenUpdate);
    return true;
  });
}

/** Idle polls of all devices in turn, with nothing in their queues. */
export function poll(devices: readonly LoadDevice[], limits: RunLimits): Promise<LoadResult> {
  let next = 0;
  return drive(limits, async (send) => {
    const device = devices[next++ % devices.length];
    if (device === undefined) return false;
    const { body } = await send(device.idle);
    if (body.length > 0) throw new Error('an idle poll was answered with a command');
    return true;
  });
}

/** Idle → command → Acknowledged → nothing, once for each device. The answers were made beforehand. */
export function cycle(
  devices: readonly LoadDevice[],
  answers: ReadonlyMap<LoadDevice, Buffer>,
  commandUuid: string,
  limits: RunLimits,
): Promise<LoadResult> {
  const next = ofEach(devices);
  return drive(limits, async (send) => {
    const device = next();
    const answer = device && answers.get(device);
    if (device === undefined || answer === undefined) return false;
    const command = await send(device.idle);
    if (!command.body.includes(commandUuid)) throw new Error('the command did not come');
    const rest = await send(answer);
    if (rest.body.length > 0) throw new Error('an empty queue was answered with a command');
    return true;
  });
}

/** Commands for `idsPerCall` devices each, one after the other around the fleet, without a push. */
export const enqueue = (devices: readonly LoadDevice[], idsPerCall: number, limits: RunLimits): Promise<LoadResult> =>
  callForEach(devices, idsPerCall, limits, (ids) => enqueueRequest(limits.target, ids, newCommandUuid()));

/** Pushes to `idsPerCall` devices each; a call is answered when APNs has answered. */
export const push = (devices: readonly LoadDevice[], idsPerCall: number, limits: RunLimits): Promise<LoadResult> =>
  callForEach(devices, idsPerCall, limits, (ids) =>
    Buffer.from(head('PUT', `/v1/push/${ids}`, 0, [authorization(limits.target)])),
  );

function callForEach(
  devices: readonly LoadDevice[],
  idsPerCall: number,
  limits: RunLimits,
  makeRequest: (ids: string) => Buffer,
): Promise<LoadResult> {
  let next = 0;
  const groups = Array.from({ length: Math.max(1, Math.floor(devices.length / idsPerCall)) }, (_, index) =>
    idsOf(devices.slice(index * idsPerCall, (index + 1) * idsPerCall)),
  );
  return drive(limits, async (send) => {
    await send(makeRequest(groups[next++ % groups.length] ?? ''));
    return true;
  });
}

const idsOf = (devices: readonly LoadDevice[]): string => devices.map((device) => device.udid).join();

/** Queues one command for all devices and gives its UUID. */
export async function queueForAll(devices: readonly LoadDevice[], target: Target): Promise<string> {
  const commandUuid = newCommandUuid();
  let isSent = false;
  await drive({ target, concurrency: 1, seconds: 60 }, async (send) => {
    if (isSent) return false;
    isSent = true;
    await send(enqueueRequest(target, idsOf(devices), commandUuid));
    return true;
  });
  return commandUuid;
}

function enqueueRequest(target: Target, ids: string, commandUuid: string): Buffer {
  const body = makeCommand(commandUuid);
  const path = `/v1/enqueue/${ids}?nopush=1`;
  return Buffer.concat([Buffer.from(head('PUT', path, body.length, [authorization(target)])), body]);
}

const authorization = ({ apiKey }: Target): string =>
  `Authorization: Basic ${Buffer.from(`nanomdm:${apiKey}`).toString('base64')}`;
