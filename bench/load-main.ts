/** The load generator: a process of its own, so that its work is not counted as the server's. Does what bench/load.ts asks over the channel. */
import { type FleetOptions, type LoadDevice, makeFleet } from './load-fleet.ts';
import {
  cycle,
  enqueue,
  enroll,
  type LoadResult,
  poll,
  push,
  queueForAll,
  type RunLimits,
  type Target,
} from './load-runs.ts';

export type LoadOrder =
  | ({ readonly act: 'make' } & FleetOptions)
  | { readonly act: 'forget'; readonly fleet: string }
  | { readonly act: 'ids'; readonly fleet: string }
  | { readonly act: 'queue'; readonly fleet: string; readonly target: Target }
  | { readonly act: 'prepare'; readonly fleet: string; readonly commandUuid: string }
  | ({ readonly act: 'enroll' | 'poll' | 'cycle'; readonly fleet: string } & RunLimits)
  | ({ readonly act: 'enqueue' | 'push'; readonly fleet: string; readonly idsPerCall: number } & RunLimits);

const fleets = new Map<string, readonly LoadDevice[]>();
let prepared: { commandUuid: string; answers: ReadonlyMap<LoadDevice, Buffer> } | undefined;

function fleetOf(name: string): readonly LoadDevice[] {
  const fleet = fleets.get(name);
  if (fleet === undefined) throw new Error(`no fleet ${name}`);
  return fleet;
}

async function obey(order: LoadOrder): Promise<LoadResult | string | readonly string[] | undefined> {
  switch (order.act) {
    case 'make':
      fleets.set(order.name, await makeFleet(order));
      return undefined;
    case 'forget':
      fleets.delete(order.fleet);
      return undefined;
    case 'ids':
      return fleetOf(order.fleet).map((device) => device.udid);
    case 'queue':
      return queueForAll(fleetOf(order.fleet), order.target);
    case 'prepare': {
      const { commandUuid } = order;
      const answers = new Map(fleetOf(order.fleet).map((device) => [device, device.acknowledge(commandUuid)]));
      prepared = { commandUuid, answers };
      return undefined;
    }
    case 'enroll':
      return enroll(fleetOf(order.fleet), order);
    case 'poll':
      return poll(fleetOf(order.fleet), order);
    case 'enqueue':
      return enqueue(fleetOf(order.fleet), order.idsPerCall, order);
    case 'push':
      return push(fleetOf(order.fleet), order.idsPerCall, order);
    case 'cycle':
      if (prepared === undefined) throw new Error('a cycle is prepared first');
      return cycle(fleetOf(order.fleet), prepared.answers, prepared.commandUuid, order);
  }
}

process.on('message', (order: LoadOrder) => {
  obey(order).then(
    (value) => process.send?.({ value }),
    (error: unknown) => process.send?.({ error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true });
