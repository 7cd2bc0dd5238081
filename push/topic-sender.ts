import { ApnsConnection, type ConnectionOptions } from './apns-connection.ts';
import type { PushCertificate } from './cached-certificates.ts';
import { Circuit, type CircuitOptions } from './circuit.ts';
import { type ApnsAnswer, classifyResponse, type PushDecision, type PushOutcome } from './classify-response.ts';

/** One push. `id` is the caller's own key; two pushes may share a token, and each gets its own result. */
export interface Push {
  readonly id: string;
  readonly topic: string;
  readonly token: Buffer;
  readonly pushMagic: string;
  /** A UUID in lower case. */
  readonly apnsId: string;
}

/** What came of the push with this `id`; see PushDecision for the fields' meaning. */
export interface PushResult {
  readonly id: string;
  readonly outcome: PushOutcome;
  /** As Apple gave it back. */
  readonly apnsId?: string;
  readonly status?: number;
  readonly reason?: string;
  readonly error?: string;
  readonly retryAfterMs?: number;
  readonly deadSince?: Date;
}

export interface SenderOptions {
  readonly connection: Omit<ConnectionOptions, 'certificatePem' | 'privateKeyPem' | 'caPem'>;
  readonly circuit: CircuitOptions;
  /** How long a certificate that Apple refused is not tried again; a new one is tried at once. */
  readonly certificateHoldMs: number;
  readonly now: () => number;
}

/** Sends the pushes of one topic with one certificate; stops asking Apple when it is away or refuses the certificate. */
export class TopicSender {
  readonly #connection: ApnsConnection;
  readonly #circuit: Circuit;
  readonly #options: SenderOptions;
  #held: { readonly until: number; readonly answer: ApnsAnswer } | undefined;

  constructor(certificate: PushCertificate, options: SenderOptions) {
    this.#options = options;
    this.#circuit = new Circuit(options.circuit);
    this.#connection = new ApnsConnection({
      ...options.connection,
      certificatePem: certificate.certificatePem,
      privateKeyPem: certificate.privateKeyPem,
      ...(certificate.url === undefined ? {} : { url: certificate.url }),
      ...(certificate.caPem === undefined ? {} : { caPem: certificate.caPem }),
      onAnswer: () => this.#circuit.succeeded(),
      onIncident: () => this.#onIncident(),
    });
  }

  /** Results in the order of `pushes`. Never rejects. */
  async send(pushes: readonly Push[]): Promise<PushResult[]> {
    const [first, ...rest] = pushes;
    if (first === undefined) {
      return [];
    }
    if (this.#held !== undefined && this.#held.until > this.#options.now()) {
      const { answer } = this.#held;
      return pushes.map((push) => this.#result(push, answer));
    }
    const admission = this.#circuit.admit();
    if (!admission.admitted) {
      const answer = circuitOpen(admission.retryAfterMs);
      return pushes.map((push) => this.#result(push, answer));
    }
    if (admission.isProbe) {
      const result = await this.#push(first);
      this.#circuit.probeEnded();
      return [result, ...(await this.send(rest))];
    }
    return Promise.all(pushes.map((push) => this.#push(push)));
  }

  /** Finishes what is under way, then closes. */
  drain(): Promise<void> {
    return this.#connection.drain();
  }

  async #push(push: Push): Promise<PushResult> {
    const answer = await this.#connection.push(push);
    const result = this.#result(push, answer);
    if (result.outcome === 'certificate' && this.#held?.answer !== answer) {
      this.#hold(answer);
    }
    return result;
  }

  #hold(answer: ApnsAnswer): void {
    const { certificateHoldMs, now } = this.#options;
    if (certificateHoldMs <= 0) {
      return;
    }
    const shared = withoutApnsId(answer);
    this.#held = { until: now() + certificateHoldMs, answer: shared };
    this.#connection.refuseWaiting(shared);
  }

  #onIncident(): void {
    const restMs = this.#circuit.failed();
    if (restMs !== undefined) {
      this.#connection.refuseWaiting(circuitOpen(restMs));
    }
  }

  #result(push: Push, answer: ApnsAnswer): PushResult {
    const decision = classifyResponse(answer, this.#options.now());
    return { id: push.id, ...decision, ...factsOf(answer) };
  }
}

/** The same result for every push, where nothing was sent. */
export function refuseAll(pushes: readonly Push[], decision: PushDecision): PushResult[] {
  return pushes.map(({ id }) => ({ id, ...decision }));
}

/** Another push's apns-id is nobody else's. */
function withoutApnsId(answer: ApnsAnswer): ApnsAnswer {
  if (answer.kind !== 'response') {
    return answer;
  }
  const { apnsId: _, ...shared } = answer;
  return shared;
}

function circuitOpen(retryAfterMs: number): ApnsAnswer {
  return { kind: 'failure', code: 'ECIRCUITOPEN', message: 'APNs does not answer; not tried again yet', retryAfterMs };
}

function factsOf(answer: ApnsAnswer): Pick<PushResult, 'apnsId' | 'status' | 'reason'> {
  if (answer.kind !== 'response') {
    return answer.kind === 'goaway' && answer.reason !== undefined ? { reason: answer.reason } : {};
  }
  const { apnsId, status, reason } = answer;
  return { status, ...(apnsId === undefined ? {} : { apnsId }), ...(reason === undefined ? {} : { reason }) };
}
