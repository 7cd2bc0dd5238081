import { describe, expect, it } from 'vitest';
import { drawDeviceModel, drawPlatform } from '../../simulator/device-model.ts';
import { makeRandom } from '../../simulator/random.ts';

describe('random streams', () => {
  it('of one seed are the same, also when the seed is written as text', () => {
    const first = makeRandom(42);
    const second = makeRandom('42');
    expect(Array.from({ length: 20 }, () => first.next())).toEqual(Array.from({ length: 20 }, () => second.next()));
    expect(makeRandom(43).next()).not.toBe(makeRandom(42).next());
  });

  it('that are forked depend on their name alone, not on what was drawn before', () => {
    const fresh = makeRandom(7);
    const used = makeRandom(7);
    used.bytes(100);
    expect(used.fork('a').uuid()).toBe(fresh.fork('a').uuid());
    expect(fresh.fork('b').uuid()).not.toBe(fresh.fork('a').uuid());
  });

  it('keep their draws in place when a probability changes', () => {
    const draw = (probability: number) => {
      const random = makeRandom(1);
      random.chance(probability);
      return random.next();
    };
    expect(draw(0)).toBe(draw(1));
    expect(makeRandom(1).chance(0)).toBe(false);
    expect(makeRandom(1).chance(1)).toBe(true);
  });

  it('are even: every integer of a range comes about equally often', () => {
    const random = makeRandom(3);
    const counts = Array.from({ length: 6 }, () => 0);
    for (let draw = 0; draw < 60_000; draw++) {
      const face = random.int(1, 6) - 1;
      counts[face] = (counts[face] ?? 0) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });
});

describe('device models', () => {
  it('have identifiers of the shapes that Apple uses', () => {
    for (let index = 0; index < 500; index++) {
      const model = drawDeviceModel(makeRandom(9).fork(`device/${index}`));
      expect(model.serialNumber).toMatch(/^[0-9A-HJKMNP-Z]{10}$/);
      const isMac = model.platform === 'macOS';
      expect(model.udid).toMatch(isMac ? /^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$/ : /^[0-9A-F]{8}-[0-9A-F]{16}$/);
      expect(model.user !== undefined).toBe(isMac || model.platform === 'sharediPad');
    }
  });

  it('differ: 20,000 devices of a fleet have 20,000 UDIDs and serial numbers', () => {
    const root = makeRandom(11);
    const models = Array.from({ length: 20_000 }, (_, index) => drawDeviceModel(root.fork(`device/${index}`)));
    expect(new Set(models.map(({ udid }) => udid)).size).toBe(models.length);
    expect(new Set(models.map(({ serialNumber }) => serialNumber)).size).toBe(models.length);
  });

  it('are of every platform', () => {
    const random = makeRandom(12);
    expect(new Set(Array.from({ length: 1_000 }, () => drawPlatform(random))).size).toBe(5);
  });
});
