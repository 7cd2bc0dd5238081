import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { AdminRequestError } from '../../simulator/admin-client.ts';
import type { Behaviour } from '../../simulator/behaviour.ts';
import type { Fleet } from '../../simulator/fleet.ts';
import { drawSeed, makeRandom, type Random } from '../../simulator/random.ts';
import type { System } from './system.ts';
import type { Asked } from './system-books.ts';
import { makeCommand } from './test-device.ts';
import { waitFor } from './wait-for.ts';

/** Devices as bad as they come, but quick to try again. */
export const BAD_BEHAVIOUR: Partial<Behaviour> = {
  notNowProbability: 0.1,
  errorProbability: 0.05,
  duplicateProbability: 0.1,
  slowMs: 20,
  backOffMs: [50, 100, 250],
  notNowRetryMs: 200,
};

const DEVICE_TYPES = [
  'DeviceInformation',
  'ProfileList',
  'SecurityInfo',
  'CertificateList',
  'DeviceInformation',
] as const;
const FIELDS: Readonly<Record<string, object>> = { DeviceInformation: { Queries: ['DeviceName', 'OSVersion'] } };
const RETRY_MS = 50;
const MOST_IDS = 6;

/** A run's seed: printed, so that a failure can be run again with `CHAOS_SEED`. */
export function chaosSeed(name: string): number {
  const seed = Number(process.env.CHAOS_SEED ?? drawSeed());
  process.stdout.write(`${name}: CHAOS_SEED=${seed}\n`);
  return seed;
}

/** An admin's script that goes on whatever happens: a call without an answer is made again with the same CommandUUID, and a 409 means it was stored. */
export class Enqueuing {
  readonly asked: Asked;
  readonly #asked = new Map<string, readonly string[]>();
  readonly #system: System;
  readonly #fleet: Fleet;
  readonly #random: Random;
  readonly #over: Promise<unknown>;
  #isStopped = false;
  #error: unknown;
  /** Calls that had to be made again, and of those the ones that had been stored all the same. */
  retried = 0;
  foundStored = 0;

  constructor(system: System, fleet: Fleet, random: Random, options: { commands: number; lanes?: number }) {
    this.#system = system;
    this.#fleet = fleet;
    this.#random = random;
    this.asked = this.#asked;
    let left = options.commands;
    const lane = async (): Promise<void> => {
      while (left-- > 0 && !this.#isStopped) await this.#askSome();
    };
    this.#over = Promise.all(Array.from({ length: options.lanes ?? 3 }, lane)).catch((error: unknown) => {
      this.#isStopped = true;
      this.#error = error;
    });
  }

  /** Resolves once so many more calls were accepted, or all of them were. @throws what a lane threw */
  async progress(more: number): Promise<void> {
    const target = this.#asked.size + more;
    const over = this.#over.then(() => true);
    const reached = waitFor(`${target} accepted calls`, () => this.#isStopped || this.#asked.size >= target, 45_000);
    await Promise.race([over, reached]);
    if (this.#error !== undefined) throw this.#error;
  }

  /** Resolves when every call has been accepted. @throws what a lane threw */
  async end(): Promise<void> {
    await this.#over;
    if (this.#error !== undefined) throw this.#error;
  }

  async #askSome(): Promise<void> {
    const random = this.#random;
    const { devices } = this.#fleet;
    const users = devices.flatMap((device) => device.userEnrollmentId ?? []);
    const isForUsers = users.length > 0 && random.chance(0.15);
    const pool = isForUsers ? users : devices.map((device) => device.udid);
    const draw = (): string => pool[random.int(0, pool.length - 1)] ?? '';
    const ids = new Set(Array.from({ length: random.int(1, MOST_IDS) }, draw));
    const requestType = isForUsers ? 'ProfileList' : random.pick(DEVICE_TYPES);
    await this.#ask([...ids], requestType);
  }

  async #ask(ids: readonly string[], requestType: string): Promise<void> {
    const uuid = randomUUID().toUpperCase();
    const command = makeCommand(uuid, requestType, { ...FIELDS[requestType] });
    for (let attempt = 1; !this.#isStopped; attempt++) {
      const status = await this.#enqueue(ids, command);
      if (status === 200 || (status === 409 && attempt > 1)) {
        if (status === 409) this.foundStored++;
        this.#asked.set(uuid, ids);
        return;
      }
      if (status !== null && status !== 503) throw new Error(`enqueue of ${uuid} was answered with ${status}`);
      this.retried++;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** The status, null when there was no answer. As NanoMDM does, 207 and 500 are said of pushes too: without a command_error it was stored. */
  async #enqueue(ids: readonly string[], command: Buffer): Promise<number | null> {
    try {
      const { status, body } = await this.#system.admin.enqueue(ids, command);
      const isStored =
        typeof body === 'object' && body !== null && 'command_uuid' in body && !('command_error' in body);
      return isStored ? 200 : status;
    } catch (error) {
      if (error instanceof AdminRequestError) return error.status;
      throw error;
    }
  }
}

/** A misbehaving fleet and an admin's script that enqueues for it. */
export async function startChaos(system: System, seed: number, { devices = 40, commands = 300 } = {}) {
  const random = makeRandom(seed);
  const fleet = await system.startFleet({ devices, seed, behaviour: BAD_BEHAVIOUR, rsaShare: 0.05 });
  if (fleet.failures.length > 0) throw fleet.failures[0]?.error;
  return { fleet, random, enqueuing: new Enqueuing(system, fleet, random.fork('enqueuing'), { commands }) };
}

export async function wipeRedis(redisUrl: string): Promise<void> {
  const redis = new Redis({
    path: redisUrl.slice('unix://'.length),
    maxRetriesPerRequest: 1,
    retryStrategy: () => null,
  });
  redis.on('error', () => {});
  await redis.flushall().finally(() => redis.disconnect());
}
