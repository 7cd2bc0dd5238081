import { setTimeout as sleep } from 'node:timers/promises';
import { writePlist } from '../mdm/plist/write-plist.ts';
import { failByChance, mayAnswerNotNow } from './answer-command.ts';
import type { Availability } from './availability.ts';
import type { Behaviour } from './behaviour.ts';
import type { CheckIn, IdentityKeys } from './check-in-messages.ts';
import { type Aftermath, type Answer, malformed, type Place } from './commands/command-definition.ts';
import { deliverMessage } from './deliver-message.ts';
import { ExecutedCommands } from './executed-commands.ts';
import type { EnrollmentLedger, ReportStatus } from './ledger.ts';
import { CHECK_IN_TYPE, REPORT_TYPE, type Reply } from './mdm-client.ts';
import { type Fields, toPlistDict } from './plist-fields.ts';
import type { Random } from './random.ts';
import { readCommand } from './read-command.ts';

interface Report {
  readonly commandUUID: string | null;
  readonly status: ReportStatus;
  readonly body: Buffer;
  readonly aftermath: Aftermath | undefined;
}

export interface ChannelOptions {
  readonly keys: IdentityKeys;
  readonly place: Place;
  readonly ledger: EnrollmentLedger;
  readonly behaviour: Behaviour;
  readonly random: Random;
  readonly availability: Availability;
  /** Signs and sends, with the identity that the device has now. */
  readonly put: (contentType: string, body: Buffer) => Promise<Reply>;
  readonly answer: (requestType: string, command: Fields) => Answer;
  /** Called once the server has taken the result. True: the connection goes on; false: it ends here. */
  readonly afterwards: (aftermath: Aftermath) => Promise<boolean>;
  /** The server's last word: it refused the device (401, or 403 with a body). */
  readonly onRefused: (reply: Reply) => void;
}

/**
 * One MDM channel of a device: its own queue at the server, one report at a time, and the memory of what it carried
 * out. It belongs to one enrollment and is closed with it.
 */
export class DeviceChannel {
  readonly ledger: EnrollmentLedger;
  readonly #options: ChannelOptions;
  readonly #closed = new AbortController();
  readonly #idle: Report;
  readonly #executed = new ExecutedCommands<Report>();
  readonly #draws: {
    readonly notNow: Random;
    readonly error: Random;
    readonly duplicate: Random;
    readonly slow: Random;
  };

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.ledger = options.ledger;
    const { random } = options;
    this.#draws = {
      notNow: random.fork('not-now'),
      error: random.fork('error'),
      duplicate: random.fork('duplicate'),
      slow: random.fork('slow'),
    };
    this.#idle = this.#makeReport(null, 'Idle');
  }

  /** Aborts once the channel is closed. */
  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  /** Ends what is under way with the given reason; results not yet taken by the server are lost, as in an erasure. */
  close(reason: Error): void {
    this.#closed.abort(reason);
  }

  /** Sends a check-in, again and again while the server says "try later"; undefined when the attempts are used up. */
  async checkIn({ messageType, body }: CheckIn, attempts?: number): Promise<Reply | undefined> {
    const { put, ledger } = this.#options;
    return this.#deliver({
      send: () => {
        ledger.add({ kind: 'check-in.sent', messageType });
        return put(CHECK_IN_TYPE, body);
      },
      onAnswered: (httpStatus) => ledger.add({ kind: 'check-in.answered', messageType, httpStatus }),
      ...(attempts !== undefined && { attempts }),
    });
  }

  /**
   * One connection: Idle, then command and answer in turn until the server has nothing more. Resolves with the last
   * status that was sent.
   */
  async converse(): Promise<ReportStatus> {
    let report = this.#idle;
    for (;;) {
      const reply = await this.#sendReport(report);
      const goesOn = report.aftermath === undefined || (await this.#options.afterwards(report.aftermath));
      const next = goesOn && reply !== undefined ? await this.#carryOut(reply) : undefined;
      if (next === undefined) return report.status;
      report = next;
    }
  }

  /** The reply to the report, undefined when it was no 200. By chance the first reply gets lost. */
  async #sendReport(report: Report): Promise<Reply | undefined> {
    const first = await this.#sendOnce(report);
    const isLost =
      report.status !== 'Idle' && this.#draws.duplicate.chance(this.#options.behaviour.duplicateProbability);
    return isLost ? this.#sendOnce(report) : first;
  }

  async #sendOnce({ commandUUID, status, body }: Report): Promise<Reply | undefined> {
    const { put, ledger, onRefused } = this.#options;
    const reply = await this.#deliver({
      send: () => {
        ledger.add({ kind: 'report.sent', commandUUID, status });
        return put(REPORT_TYPE, body);
      },
      onAnswered: (httpStatus) => ledger.add({ kind: 'report.answered', commandUUID, status, httpStatus }),
    });
    if (reply?.status === 401 || reply?.status === 403) onRefused(reply);
    return reply?.status === 200 ? reply : undefined;
  }

  /** The report of the command in the reply, undefined when there is none. */
  async #carryOut({ body }: Reply): Promise<Report | undefined> {
    const { ledger } = this.#options;
    const read = readCommand(body);
    if (read.kind === 'none') return undefined;
    if (read.kind === 'unreadable') {
      ledger.add({ kind: 'reply.unreadable', reason: read.reason });
      return undefined;
    }
    const { commandUUID } = read;
    const requestType = read.kind === 'command' ? read.requestType : '';
    ledger.add({ kind: 'command.delivered', commandUUID, requestType });
    const before = this.#executed.find(commandUUID);
    if (before !== undefined) {
      const report = before.report ?? this.#makeReport(commandUUID, before.status);
      return { ...report, aftermath: undefined };
    }
    await this.#think();
    if (this.#isNotNow(requestType)) return this.#makeReport(commandUUID, 'NotNow');
    const answer = read.kind === 'command' ? this.#answer(requestType, read.command) : malformed('No Command');
    ledger.add({ kind: 'command.executed', commandUUID, requestType });
    const report = this.#makeReport(commandUUID, answer.status, answer);
    this.#executed.remember(commandUUID, report);
    return report;
  }

  #isNotNow(requestType: string): boolean {
    const { behaviour, place } = this.#options;
    return this.#draws.notNow.chance(behaviour.notNowProbability) && mayAnswerNotNow(requestType, place);
  }

  #answer(requestType: string, command: Fields): Answer {
    const { behaviour, place, answer } = this.#options;
    return this.#draws.error.chance(behaviour.errorProbability)
      ? failByChance(requestType, place)
      : answer(requestType, command);
  }

  async #think(): Promise<void> {
    const ms = this.#draws.slow.int(0, this.#options.behaviour.slowMs);
    if (ms > 0) await sleep(ms, undefined, { signal: this.signal });
  }

  #makeReport(commandUUID: string | null, status: ReportStatus, answer?: Answer): Report {
    const errorChain = answer?.status === 'Acknowledged' ? undefined : answer?.errorChain;
    const body = writePlist(
      toPlistDict({
        ...this.#options.keys,
        Status: status,
        CommandUUID: commandUUID ?? undefined,
        ErrorChain: errorChain?.map(({ domain, code, text }) => ({
          ErrorCode: code,
          ErrorDomain: domain,
          LocalizedDescription: text,
          USEnglishDescription: text,
        })),
        ...(answer?.status === 'Acknowledged' && answer.response),
      }),
    );
    return { commandUUID, status, body, aftermath: answer?.status === 'Acknowledged' ? answer.aftermath : undefined };
  }

  #deliver(parts: Pick<Parameters<typeof deliverMessage>[0], 'send' | 'onAnswered' | 'attempts'>) {
    const { availability, behaviour } = this.#options;
    const untilPresent = () => availability.untilPresent(this.signal);
    return deliverMessage({ ...parts, untilPresent, backOffMs: behaviour.backOffMs, signal: this.signal });
  }
}
