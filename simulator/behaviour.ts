/** How well a device behaves. Probabilities are per command, in [0, 1]; times in milliseconds. */
export interface Behaviour {
  /** NotNow, for commands that may answer it. */
  readonly notNowProbability: number;
  /** Error, instead of carrying the command out. */
  readonly errorProbability: number;
  /** The reply to a result gets lost, and the device sends the same result again. */
  readonly duplicateProbability: number;
  /** A command takes a time drawn from 0 to this. */
  readonly slowMs: number;
  /** Waits after the first, second, … failed sending; the last one repeats. Apple's are 1, 5 and 30 min. */
  readonly backOffMs: readonly number[];
  /** After a NotNow as its last word, a device comes back by itself when it is unlocked; null: only when pushed. */
  readonly notNowRetryMs: number | null;
  /** How long a device is away when told to restart or to shut down (somebody switches it on again). */
  readonly restartMs: number;
  readonly shutDownMs: number;
  /** After an erasure the device is set up again by its owner; null: it stays in its box. */
  readonly setUpAgainAfterMs: number | null;
  /** Windows without network, counted from the end of the enrollment. */
  readonly offline: readonly { readonly afterMs: number; readonly lastsMs: number }[];
  /** Added to the device's clock. */
  readonly clockSkewMs: number;
}

/** A device without faults, thirty times as fast as Apple's in coming back. */
export const GOOD_BEHAVIOUR: Behaviour = {
  notNowProbability: 0,
  errorProbability: 0,
  duplicateProbability: 0,
  slowMs: 0,
  backOffMs: [2_000, 10_000, 60_000],
  notNowRetryMs: 30_000,
  restartMs: 5_000,
  shutDownMs: 60_000,
  setUpAgainAfterMs: 1_000,
  offline: [],
  clockSkewMs: 0,
};
