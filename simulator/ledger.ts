/** What a device can say about a command, and `Idle` (apple-protocols §1.7). */
export type ReportStatus = 'Idle' | 'Acknowledged' | 'Error' | 'CommandFormatError' | 'NotNow';

/**
 * One thing that happened to one enrollment, in the order in which the device saw it. `httpStatus` is null when the
 * connection failed, so that the device cannot know whether the server recorded the message.
 */
export type LedgerEvent =
  | { readonly kind: 'check-in.sent'; readonly messageType: string }
  | { readonly kind: 'check-in.answered'; readonly messageType: string; readonly httpStatus: number | null }
  | { readonly kind: 'command.delivered'; readonly commandUUID: string; readonly requestType: string }
  | { readonly kind: 'command.executed'; readonly commandUUID: string; readonly requestType: string }
  | { readonly kind: 'report.sent'; readonly commandUUID: string | null; readonly status: ReportStatus }
  | {
      readonly kind: 'report.answered';
      readonly commandUUID: string | null;
      readonly status: ReportStatus;
      readonly httpStatus: number | null;
    }
  | { readonly kind: 'reply.unreadable'; readonly reason: string }
  | { readonly kind: 'lifecycle'; readonly state: string };

/** One sending of a result. The server has taken it when `httpStatus` is 200. */
export interface AnswerRecord {
  readonly status: ReportStatus;
  httpStatus: number | null;
}

/** What one enrollment was asked by one command, and what it said. */
export interface CommandRecord {
  readonly enrollmentId: string;
  readonly commandUUID: string;
  readonly requestType: string;
  /** How often the server handed it out. */
  delivered: number;
  /** How often the device carried it out; a device keeps this at 1 or less. NotNow carries nothing out. */
  executed: number;
  readonly answers: AnswerRecord[];
}

export interface LedgerTotals {
  readonly enrollments: number;
  readonly checkInsAcknowledged: number;
  readonly pushes: number;
  readonly delivered: number;
  readonly executed: number;
  /** Commands that were carried out more than once: a fault of the simulator or a reused CommandUUID. */
  readonly executedTwice: number;
  /** Results taken by the server, by status; a result sent twice counts twice. */
  readonly acknowledged: Readonly<Record<Exclude<ReportStatus, 'Idle'>, number>>;
}

/** The record of one enrollment (a device channel or a user channel). Only ever added to. */
export class EnrollmentLedger {
  readonly enrollmentId: string;
  readonly #events: LedgerEvent[] = [];
  readonly #commands = new Map<string, CommandRecord>();
  #pushes = 0;

  constructor(enrollmentId: string) {
    this.enrollmentId = enrollmentId;
  }

  get events(): readonly LedgerEvent[] {
    return this.#events;
  }

  /** Pushes that arrived. Not events: when they fall between two messages is chance, also with one seed. */
  get pushes(): number {
    return this.#pushes;
  }

  get commands(): readonly CommandRecord[] {
    return [...this.#commands.values()];
  }

  command(commandUUID: string): CommandRecord | undefined {
    return this.#commands.get(commandUUID);
  }

  /** Message types of the check-ins that the server answered with 200, in order. */
  get checkIns(): readonly string[] {
    return this.#events.flatMap((event) =>
      event.kind === 'check-in.answered' && event.httpStatus === 200 ? [event.messageType] : [],
    );
  }

  countPush(): void {
    this.#pushes++;
  }

  add(event: LedgerEvent): void {
    this.#events.push(event);
    if (event.kind === 'command.delivered') this.#record(event.commandUUID, event.requestType).delivered++;
    if (event.kind === 'command.executed') this.#record(event.commandUUID, event.requestType).executed++;
    if (event.kind === 'report.sent' && event.commandUUID !== null) {
      this.#commands.get(event.commandUUID)?.answers.push({ status: event.status, httpStatus: null });
    }
    if (event.kind === 'report.answered' && event.commandUUID !== null) {
      const last = this.#commands.get(event.commandUUID)?.answers.at(-1);
      if (last !== undefined) last.httpStatus = event.httpStatus;
    }
  }

  #record(commandUUID: string, requestType: string): CommandRecord {
    const known = this.#commands.get(commandUUID);
    if (known !== undefined) return known;
    const { enrollmentId } = this;
    const record = { enrollmentId, commandUUID, requestType, delivered: 0, executed: 0, answers: [] };
    this.#commands.set(commandUUID, record);
    return record;
  }
}

/** What a whole fleet saw. Tests compare it with the database: neither may know of something that the other lost. */
export class Ledger {
  readonly #enrollments = new Map<string, EnrollmentLedger>();

  /** The record of one enrollment id (`UDID` or `UDID:user`), begun when it is first asked for. */
  of(enrollmentId: string): EnrollmentLedger {
    const known = this.#enrollments.get(enrollmentId);
    if (known !== undefined) return known;
    const begun = new EnrollmentLedger(enrollmentId);
    this.#enrollments.set(enrollmentId, begun);
    return begun;
  }

  /** In ascending order of enrollment id. */
  get enrollments(): readonly EnrollmentLedger[] {
    return [...this.#enrollments.values()].sort((a, b) => (a.enrollmentId < b.enrollmentId ? -1 : 1));
  }

  /** Every (enrollment, command) pair, or those of one CommandUUID. */
  commands(commandUUID?: string): readonly CommandRecord[] {
    const all = [...this.#enrollments.values()];
    if (commandUUID === undefined) return all.flatMap((enrollment) => enrollment.commands);
    return all.flatMap((enrollment) => enrollment.command(commandUUID) ?? []);
  }

  totals(): LedgerTotals {
    const acknowledged = { Acknowledged: 0, Error: 0, CommandFormatError: 0, NotNow: 0 };
    const totals = { checkInsAcknowledged: 0, pushes: 0, delivered: 0, executed: 0, executedTwice: 0 };
    for (const enrollment of this.#enrollments.values()) {
      totals.pushes += enrollment.pushes;
      totals.checkInsAcknowledged += enrollment.checkIns.length;
      for (const command of enrollment.commands) {
        totals.delivered += command.delivered;
        totals.executed += command.executed;
        if (command.executed > 1) totals.executedTwice++;
        for (const answer of command.answers) {
          if (answer.httpStatus === 200 && answer.status !== 'Idle') acknowledged[answer.status]++;
        }
      }
    }
    return { enrollments: this.#enrollments.size, ...totals, acknowledged };
  }

  /** One JSON object per line: the enrollment id and the event, enrollments in ascending order. */
  toJsonLines(): string {
    return this.enrollments
      .flatMap(({ enrollmentId, events }) => events.map((event) => `${JSON.stringify({ enrollmentId, ...event })}\n`))
      .join('');
  }
}
