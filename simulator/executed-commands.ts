import type { ReportStatus } from './ledger.ts';

/** How many CommandUUIDs a device remembers (apple-protocols §10.6). */
const REMEMBERED = 50;
/** Of how many it keeps the whole report: a fleet of thousands could not keep them all in memory. */
const REPORTS_KEPT = 5;

interface Executed<Report> {
  readonly status: ReportStatus;
  report: Report | undefined;
}

/** The last commands that a device carried out, so that it carries out none of them twice. */
export class ExecutedCommands<Report extends { readonly status: ReportStatus }> {
  readonly #executed = new Map<string, Executed<Report>>();
  readonly #kept: Executed<Report>[] = [];

  /** The status that the command got, and its report if that is one of the last five; undefined for a new command. */
  find(commandUUID: string): Readonly<Executed<Report>> | undefined {
    return this.#executed.get(commandUUID);
  }

  remember(commandUUID: string, report: Report): void {
    const executed = { status: report.status, report };
    this.#executed.set(commandUUID, executed);
    this.#kept.push(executed);
    const dropped = this.#kept.length > REPORTS_KEPT ? this.#kept.shift() : undefined;
    if (dropped !== undefined) dropped.report = undefined;
    const [oldest] = this.#executed.keys();
    if (this.#executed.size > REMEMBERED && oldest !== undefined) this.#executed.delete(oldest);
  }
}
