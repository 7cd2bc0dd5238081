/** How many CommandUUIDs a device remembers (apple-protocols §10.6). */
const REMEMBERED = 50;

/** The last commands that a device carried out, and the reports it made of them. */
export class ExecutedCommands<Report> {
  readonly #reports = new Map<string, Report>();

  /** The report that the command got, if it is among the last 50: it is sent again, and nothing is carried out twice. */
  reportOf(commandUUID: string): Report | undefined {
    return this.#reports.get(commandUUID);
  }

  remember(commandUUID: string, report: Report): void {
    this.#reports.set(commandUUID, report);
    const [oldest] = this.#reports.keys();
    if (this.#reports.size > REMEMBERED && oldest !== undefined) this.#reports.delete(oldest);
  }
}
