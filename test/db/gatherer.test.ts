import { describe, expect, it } from 'vitest';
import { Gatherer, type GathererOptions } from '../../db/gatherer.ts';
import { createGate } from '../harness/core-fixture.ts';

type Item = string;

/** A gatherer that answers each item in capitals, and notes its batches. */
function noting(options: Partial<GathererOptions<Item, string>> = {}) {
  const batches: Item[][] = [];
  const gatherer = new Gatherer<Item, string>({
    key: (item) => item,
    run: async (items) => {
      batches.push([...items]);
      return (await options.run?.(items)) ?? items.map((item) => item.toUpperCase());
    },
    ...(({ run, ...rest }) => rest)(options),
  });
  return { gatherer, batches };
}

describe('a gatherer', () => {
  it('lets an item that is alone leave at once, and gathers while a batch is under way', async () => {
    const gate = createGate();
    let isFirst = true;
    const { gatherer, batches } = noting({
      run: async (items) => {
        if (isFirst) {
          isFirst = false;
          await gate.hold();
        }
        return items.map((item) => item.toUpperCase());
      },
    });
    const first = gatherer.add('a');
    await gate.reached;
    const others = ['b', 'c', 'd'].map((item) => gatherer.add(item));
    expect(batches).toEqual([['a']]);
    gate.open();
    expect(await Promise.all([first, ...others])).toEqual(['A', 'B', 'C', 'D']);
    expect(batches).toEqual([['a'], ['b', 'c', 'd']]);
    expect([gatherer.batches, gatherer.items]).toEqual([2, 4]);
  });

  it('puts what arrives in one turn into one batch', async () => {
    const { gatherer, batches } = noting();
    await Promise.all(['a', 'b', 'c'].map((item) => gatherer.add(item)));
    expect(batches).toEqual([['a', 'b', 'c']]);
  });

  it('keeps items with one key apart and in their order, and lets others pass', async () => {
    const { gatherer, batches } = noting({ key: (item) => item[0] ?? '' });
    await Promise.all(['a1', 'a2', 'b1', 'a3', 'b2', 'c1'].map((item) => gatherer.add(item)));
    expect(batches).toEqual([['a1', 'b1', 'c1'], ['a2', 'b2'], ['a3']]);
  });

  it('makes batches of the size given at most', async () => {
    const { gatherer, batches } = noting({ maxBatch: 2 });
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((item) => gatherer.add(item)));
    expect(batches.map((batch) => batch.length)).toEqual([2, 2, 1]);
  });

  it('ends a batch at 4 MB: a few large items do not make one giant statement', async () => {
    const megabytes = (item: Item): number => Number(item.slice(1)) * 1024 * 1024;
    const { gatherer, batches } = noting({ size: megabytes });
    await Promise.all(['a1', 'b3', 'c1', 'd20', 'e1'].map((item) => gatherer.add(item)));
    expect(batches).toEqual([['a1', 'b3'], ['c1', 'd20'], ['e1']]);
  });

  it('lets a bad item harm only itself: a batch that fails is split into singles', async () => {
    const { gatherer, batches } = noting({
      run: async (items) => {
        if (items.includes('bad')) throw new Error('bad item');
        return items.map((item) => item.toUpperCase());
      },
    });
    const answers = await Promise.allSettled(['a', 'bad', 'c'].map((item) => gatherer.add(item)));
    expect(answers).toMatchObject([{ value: 'A' }, { reason: { message: 'bad item' } }, { value: 'C' }]);
    expect(batches).toEqual([['a', 'bad', 'c'], ['a'], ['bad'], ['c']]);
    expect(await gatherer.add('d')).toBe('D');
  });

  it('runs singles side by side, as many as it may: one that hangs holds up no other', async () => {
    const gate = createGate();
    const done: Item[] = [];
    const { gatherer } = noting({
      sideBySide: 2,
      run: async (items) => {
        if (items.length > 1) throw new Error('split');
        if (items[0] === 'slow') await gate.hold();
        done.push(...items);
        return items;
      },
    });
    const all = ['slow', 'b', 'c', 'd'].map((item) => gatherer.add(item));
    expect(await Promise.all(all.slice(1))).toEqual(['b', 'c', 'd']);
    expect(done).toEqual(['b', 'c', 'd']);
    gate.open();
    expect(await all[0]).toBe('slow');
  });

  it('goes on with batches while a single hangs; only what has its key waits', async () => {
    const gate = createGate();
    const { gatherer, batches } = noting({
      run: async (items) => {
        if (items.includes('bad') && items.length > 1) throw new Error('split');
        if (items[0] === 'bad') await gate.hold();
        return items;
      },
    });
    const first = ['a', 'bad'].map((item) => gatherer.add(item));
    expect(await first[0]).toBe('a');
    const later = ['bad', 'c', 'd'].map((item) => gatherer.add(item));
    expect(await Promise.all(later.slice(1))).toEqual(['c', 'd']);
    expect(batches.at(-1)).toEqual(['c', 'd']);
    gate.open();
    expect(await Promise.all([first[1], later[0]])).toEqual(['bad', 'bad']);
    await gatherer.drain();
  });

  it('does not try singles when the connection is lost: nobody knows what was committed', async () => {
    const lost = Object.assign(new Error('gone'), { code: 'PROTOCOL_CONNECTION_LOST', fatal: true });
    const { gatherer, batches } = noting({
      run: async () => {
        throw lost;
      },
    });
    const answers = await Promise.allSettled(['a', 'b'].map((item) => gatherer.add(item)));
    expect(answers.map((answer) => answer.status === 'rejected' && answer.reason === lost)).toEqual([true, true]);
    expect(batches).toHaveLength(1);
  });

  it('drains: resolves when nothing waits or is under way, also what was added meanwhile', async () => {
    const gate = createGate();
    let runs = 0;
    const { gatherer, batches } = noting({
      run: async (items) => {
        runs += 1;
        if (runs === 1) await gate.hold();
        return items;
      },
    });
    await gatherer.drain();
    const first = gatherer.add('a');
    await gate.reached;
    const second = gatherer.add('b');
    let isDrained = false;
    const drained = gatherer.drain().then(() => {
      isDrained = true;
    });
    await Promise.resolve();
    expect(isDrained).toBe(false);
    gate.open();
    await drained;
    expect(batches).toEqual([['a'], ['b']]);
    await Promise.all([first, second]);
  });

  it('answers undefined where that is the answer', async () => {
    const gatherer = new Gatherer<number, undefined>({ key: String, run: async (items) => items.map(() => undefined) });
    expect(await Promise.all([gatherer.add(1), gatherer.add(2)])).toEqual([undefined, undefined]);
  });
});
