import type { z } from 'zod';
import type { DeviceModel } from '../device-model.ts';
import type { DeviceState } from '../device-state.ts';
import {
  type Declaration,
  declarationSchema,
  KINDS,
  type Manifest,
  manifestSchema,
  tokensSchema,
} from './declaration.ts';
import { evaluateDeclarations, type Verdict } from './evaluate-declarations.ts';
import { makeStatusReport } from './make-status-report.ts';

/** A set that changes while it is fetched is fetched again, at most this often in all (apple-protocols §10.4). */
const ROUNDS = 3;

export interface DeclarativeLink {
  readonly model: DeviceModel;
  readonly state: DeviceState;
  /** Sends a DeclarativeManagement check-in; the body of a 200, undefined for any other answer. */
  readonly request: (endpoint: string, data?: Buffer) => Promise<Buffer | undefined>;
}

/** One channel's declarations (apple-protocols §7.1, §10.4). They end with the enrollment. */
export class DeclarativeClient {
  readonly #link: DeclarativeLink;
  readonly #declarations = new Map<string, Declaration>();
  #appliedToken: string | undefined;
  #verdicts: readonly Verdict[] = [];
  #hasReported = false;

  constructor(link: DeclarativeLink) {
    this.#link = link;
  }

  get declarations(): readonly Declaration[] {
    return [...this.#declarations.values()];
  }

  get verdicts(): readonly Verdict[] {
    return this.#verdicts;
  }

  /**
   * Fetches what changed, applies it, and sends one status report. Does nothing when the server's token is the applied
   * one; stops where the server does not answer as expected, to try again at the next command.
   */
  async synchronize(): Promise<void> {
    const before = this.#appliedToken;
    for (let round = 0; round < ROUNDS; round++) {
      const token = await this.#fetchToken();
      if (token === undefined || token === this.#appliedToken) break;
      if (!(await this.#fetchChanges())) return;
    }
    if (this.#appliedToken === before) return;
    const { model, state } = this.#link;
    const { declarations } = this;
    this.#verdicts = evaluateDeclarations(declarations);
    const isFull = !this.#hasReported;
    const report = makeStatusReport({ model, state, declarations, verdicts: this.#verdicts, isFull });
    this.#hasReported = (await this.#link.request('status', report)) !== undefined || this.#hasReported;
  }

  async #fetchToken(): Promise<string | undefined> {
    return (await this.#fetch('tokens', tokensSchema))?.SyncTokens.DeclarationsToken;
  }

  /** False when there was no manifest. */
  async #fetchChanges(): Promise<boolean> {
    const manifest = await this.#fetch('declaration-items', manifestSchema);
    if (manifest === undefined) return false;
    const listed = new Set(
      KINDS.flatMap(({ inManifest }) => manifest.Declarations[inManifest].map((entry) => entry.Identifier)),
    );
    for (const identifier of this.#declarations.keys()) {
      if (!listed.has(identifier)) this.#declarations.delete(identifier);
    }
    await this.#fetchDeclarations(manifest);
    this.#appliedToken = manifest.DeclarationsToken;
    return true;
  }

  async #fetchDeclarations(manifest: Manifest): Promise<void> {
    for (const { kind, inManifest } of KINDS) {
      for (const { Identifier, ServerToken } of manifest.Declarations[inManifest]) {
        if (this.#declarations.get(Identifier)?.ServerToken === ServerToken) continue;
        const declaration = await this.#fetch(`declaration/${kind}/${Identifier}`, declarationSchema);
        // A declaration that is not there any more is dropped (apple-protocols §10.4).
        if (declaration === undefined) this.#declarations.delete(Identifier);
        else this.#declarations.set(Identifier, declaration);
      }
    }
  }

  async #fetch<Shape extends z.ZodType>(endpoint: string, schema: Shape): Promise<z.infer<Shape> | undefined> {
    const body = await this.#link.request(endpoint);
    const read = schema.safeParse(body === undefined ? undefined : parseJson(body.toString('utf8')));
    return read.success ? read.data : undefined;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
