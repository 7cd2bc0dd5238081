import { randomInt } from 'node:crypto';

/** What a random test runs from: another one each time, told in its title; `TEST_SEED` repeats one. */
export const SEED = Number(process.env.TEST_SEED ?? randomInt(2 ** 31));
