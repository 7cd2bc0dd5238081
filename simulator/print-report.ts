import type { Fleet, FleetProgress } from './fleet.ts';

/** Prints what happens: a sentence for people, or the same facts as one JSON object per line. */
export class Report {
  readonly #isJson: boolean;
  #lastProgressAt = Number.NEGATIVE_INFINITY;
  #lastStatus = '';

  constructor(isJson: boolean) {
    this.#isJson = isJson;
  }

  say(event: string, facts: Readonly<Record<string, unknown>>, sentence: string): void {
    console.log(this.#isJson ? JSON.stringify({ event, ...facts }) : sentence);
  }

  /** At most one line per second, and the last one. */
  progress({ enrolled, failed, total, elapsedMs }: FleetProgress): void {
    const isLast = enrolled + failed === total;
    if (!isLast && elapsedMs - this.#lastProgressAt < 1000) return;
    this.#lastProgressAt = elapsedMs;
    const perSecond = Math.round(((enrolled + failed) / Math.max(elapsedMs, 1)) * 10_000) / 10;
    const failures = failed === 0 ? '' : `, ${failed} failed`;
    this.say(
      'progress',
      { enrolled, failed, total, perSecond, elapsedMs: Math.round(elapsedMs) },
      `${enrolled}/${total} enrolled${failures}, ${perSecond} per second`,
    );
  }

  /** One line about the fleet, if anything changed since the last one. */
  status({ ledger, isIdle }: Fleet): void {
    const totals = ledger.totals();
    const { Acknowledged, Error: errors, CommandFormatError, NotNow } = totals.acknowledged;
    const sentence =
      `${totals.pushes} pushes, ${totals.delivered} commands delivered: ${Acknowledged} Acknowledged, ` +
      `${errors + CommandFormatError} Error, ${NotNow} NotNow${isIdle ? '' : '; polling'}`;
    if (sentence === this.#lastStatus) return;
    this.#lastStatus = sentence;
    this.say('status', { ...totals, isIdle }, sentence);
  }
}
