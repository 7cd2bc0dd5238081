import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { runDoctor } from '../../db/doctor.ts';
import { insertCommand } from '../../db/queries/enqueue-command.ts';
import { transaction } from '../../db/transaction.ts';
import { readEnrollment, readQueue, readResults } from '../harness/device-rows.ts';
import { SEED } from '../harness/seed.ts';
import { useTestDatabase } from '../harness/test-database.ts';
import { makeCommand, TestDevice } from '../harness/test-device.ts';
import { useTestServer } from '../harness/test-server.ts';

const test = useTestDatabase();
const one = useTestServer(test);
const other = useTestServer(test);

interface Command {
  readonly uuid: string;
  readonly priority: number;
  isPutOff: boolean;
}

/** What a queue must do, in a few lines (nanomdm §2, DESIGN invariants 5 and 6). */
class QueueModel {
  waiting: Command[] = [];
  /** First final result of each command. */
  readonly ended = new Map<string, string>();
  readonly cleared = new Set<string>();
  readonly queued: string[] = [];

  enqueue(uuid: string, priority: number): void {
    this.queued.push(uuid);
    this.waiting.push({ uuid, priority, isPutOff: false });
    // Sorting is stable: within a priority the order of queueing stays.
    this.waiting.sort((a, b) => b.priority - a.priority);
  }

  report(status: string, uuid: string): void {
    const command = this.waiting.find((waiting) => waiting.uuid === uuid);
    if (status === 'NotNow') {
      if (command !== undefined) command.isPutOff = true;
      return;
    }
    this.waiting = this.waiting.filter((waiting) => waiting !== command);
    if (this.queued.includes(uuid) && !this.ended.has(uuid)) this.ended.set(uuid, status);
  }

  next(status: string): string | undefined {
    return this.waiting.find((command) => status !== 'NotNow' || !command.isPutOff)?.uuid;
  }

  clear(): void {
    for (const { uuid } of this.waiting) this.cleared.add(uuid);
    this.waiting = [];
  }
}

/** Which of the commands so far, counted from the newest; beyond the oldest: one that nobody knows. */
const which = fc.nat(5);
const channel = fc.nat(1);
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('enqueue' as const),
      channels: fc.constantFrom([0], [1], [0, 1]),
      priority: fc.constantFrom(0, 0, 0, 50, 100, 1000),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('idle' as const), channel }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      channel,
      status: fc.constantFrom('Acknowledged', 'Error', 'CommandFormatError', 'NotNow', 'Foo'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('report' as const),
      channel,
      status: fc.constantFrom('Acknowledged', 'Error', 'NotNow'),
      which,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reenroll' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('check-out' as const, 'token-update' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A device and a user channel of it, each message by either of two processes, beside a model of each queue. */
async function play(steps: readonly (readonly [Step, boolean])[]): Promise<void> {
  const device = await TestDevice.enrolled(one);
  const user = device.user({ UserID: 'U1' });
  await user.tokenUpdate();
  const ids = await Promise.all([device, user].map(async ({ id }) => (await readEnrollment(test.db, id))?.id ?? 0));
  const via = (index: number, isOther: boolean): TestDevice => {
    const speaker = index === 0 ? device : user;
    return isOther ? new TestDevice(other, speaker.ids, device.identity, device.serialNumber) : speaker;
  };
  const models = [new QueueModel(), new QueueModel()] as const;

  const say = async (index: 0 | 1, isOther: boolean, status: string, uuid: string | undefined): Promise<void> => {
    if (uuid !== undefined && status !== 'Idle') models[index].report(status, uuid);
    expect(await via(index, isOther).next(status, uuid)).toBe(models[index].next(status));
  };

  for (const [action, isOther] of steps) {
    if (action.kind === 'enqueue') {
      const uuid = randomUUID();
      const row = {
        commandUuid: uuid,
        requestType: 'X',
        renewsEnrollment: false,
        priority: action.priority,
        origin: 'api' as const,
        originId: undefined,
        body: makeCommand(uuid, 'X'),
      };
      await transaction(test.db, (t) =>
        insertCommand(
          t,
          test.db.secrets,
          row,
          action.channels.map((index) => ids[index] ?? 0),
        ),
      );
      for (const index of action.channels) models[index === 0 ? 0 : 1].enqueue(uuid, action.priority);
    } else if (action.kind === 'idle') await say(action.channel === 0 ? 0 : 1, isOther, 'Idle', undefined);
    else if (action.kind === 'answer') {
      const index = action.channel === 0 ? 0 : 1;
      const uuid = models[index].next('Idle');
      if (uuid !== undefined) await say(index, isOther, action.status, uuid);
    } else if (action.kind === 'report') {
      const index = action.channel === 0 ? 0 : 1;
      await say(index, isOther, action.status, models[index].queued.at(-1 - action.which) ?? 'nobody-knows-it');
    } else if (action.kind === 'reenroll') {
      await via(0, isOther).enroll();
      for (const model of models) model.clear();
    } else {
      const speaker = via(0, isOther);
      expect((await (action.kind === 'check-out' ? speaker.checkIn('CheckOut') : speaker.tokenUpdate())).status).toBe(
        200,
      );
    }
  }

  for (const index of [0, 1] as const) {
    const { id } = via(index, false);
    const model = models[index];
    expect(await readQueue(test.db, id)).toEqual(model.waiting.map(({ uuid }) => uuid));
    const results = await readResults(test.db, id);
    for (const uuid of model.queued) {
      const isWaiting = model.waiting.some((command) => command.uuid === uuid);
      expect({
        ended: results[uuid]?.hasEnded === 1 ? results[uuid].status : undefined,
        isCleared: results[uuid]?.isCleared === 1,
        isWaiting,
      }).toEqual({ ended: model.ended.get(uuid), isCleared: model.cleared.has(uuid), isWaiting });
      expect(isWaiting || model.ended.has(uuid) || model.cleared.has(uuid)).toBe(true);
    }
  }
}

it(`any sequence of queueing, answering and enrolling again does to a queue what the model says (TEST_SEED=${SEED})`, async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(step, fc.boolean()), { maxLength: 40 }), play), {
    seed: SEED,
    numRuns: 60,
  });
  expect(await runDoctor(test.db)).toEqual([]);
});
