import { LRUCache } from 'lru-cache';
import type { Db } from '../../db/db.ts';
import { isContention } from '../../db/errors.ts';
import { Gatherer } from '../../db/gatherer.ts';
import { type Channel, readCertificateOwners, readChannels } from '../../db/queries/channels.ts';
import { COMMAND_BODY } from '../../db/queries/enqueue-command.ts';
import { readCommandBodies, readNextCommandIds } from '../../db/queries/next-commands.ts';
import { type AuthenticateRow, recordAuthenticates } from '../../db/queries/record-authenticates.ts';
import { type CommandFacts, type ReportRow, recordReports } from '../../db/queries/record-reports.ts';
import { recordTokenUpdates, type TokenUpdateRow } from '../../db/queries/record-token-updates.ts';
import { type Transaction, transaction } from '../../db/transaction.ts';
import { RowHeld } from '../errors.ts';

export interface NextCommand {
  readonly commandUuid: string;
  readonly body: Buffer;
}

interface IdentityQuestion {
  readonly keys: readonly string[];
  readonly sha256: string | undefined;
}

interface IdentityAnswer {
  readonly channels: ReadonlyMap<string, Channel>;
  readonly certificateOf: number | undefined;
}

/** Bytes of command bodies kept open in memory: a command for the whole fleet is read once. */
const BODY_CACHE_BYTES = 64 * 1024 * 1024;
const CACHED_MS = 60_000;

/**
 * Everything that the device endpoints read and write, gathered: concurrent requests of one kind share a statement or a transaction, and each is answered
 * after the commit (DESIGN §5). Caches hold what cannot change while a row exists, for a minute at most.
 */
export class DeviceStore {
  readonly #channels = new LRUCache<string, Channel>({ max: 100_000, ttl: CACHED_MS });
  readonly #owners = new LRUCache<string, number>({ max: 100_000, ttl: CACHED_MS });
  readonly #bodies = new LRUCache<number, NextCommand>({
    maxSize: BODY_CACHE_BYTES,
    sizeCalculation: ({ body }) => body.length + 200,
    ttl: CACHED_MS,
  });
  /** By CommandUUID: of the commands that were sent lately, whose reports come next. */
  readonly #sent = new LRUCache<string, CommandFacts>({ max: 100_000, ttl: CACHED_MS });
  readonly #identities: Gatherer<IdentityQuestion, IdentityAnswer>;
  readonly #nextCommands: Gatherer<{ enrollmentId: number; skipNotNow: boolean }, NextCommand | undefined>;
  readonly #authenticates: Gatherer<AuthenticateRow, Channel>;
  readonly #tokenUpdates: Gatherer<TokenUpdateRow, void>;
  readonly #reports: Gatherer<ReportRow, boolean>;

  constructor(db: Db) {
    const everyone = Array<void>(256).fill(undefined);
    this.#identities = new Gatherer({
      key: (question) => question.keys.join(' '),
      run: (questions) => readIdentities(db, questions),
    });
    this.#nextCommands = new Gatherer({
      key: (item) => String(item.enrollmentId),
      run: (items) => this.#readNextCommands(db, items),
    });
    this.#authenticates = new Gatherer({
      key: (row) => row.enrollmentKey,
      run: (rows) => record(db, rows.length === 1, (t) => recordAuthenticates(t, db.secrets, rows)),
    });
    this.#tokenUpdates = new Gatherer({
      key: (row) => row.enrollmentKey,
      run: (rows) =>
        record(db, rows.length === 1, async (t) => recordTokenUpdates(t, db.secrets, rows)).then(() => everyone),
    });
    this.#reports = new Gatherer({
      key: (row) => `${row.enrollmentId} ${row.commandUuid}`,
      size: (row) => row.body.length,
      run: (rows) => record(db, false, (t) => recordReports(t, db.secrets, rows, (uuid) => this.#sent.get(uuid))),
    });
  }

  /** The channels of these folded enrollment keys, and the device to which a certificate hash belongs. */
  async identify(keys: readonly string[], sha256: string | undefined): Promise<IdentityAnswer> {
    const known = this.#recall(keys, sha256);
    if (known !== undefined) return known;
    const answer = await this.#identities.add({ keys, sha256 });
    for (const [key, channel] of answer.channels) this.#channels.set(key, channel);
    // Only what is known to be so is kept: a refusal is looked up again.
    if (sha256 !== undefined && answer.certificateOf !== undefined) this.#owners.set(sha256, answer.certificateOf);
    return answer;
  }

  /** What it committed is known from now on: the TokenUpdate is next. */
  async recordAuthenticate(row: AuthenticateRow): Promise<void> {
    const channel = await this.#authenticates.add(row);
    this.#channels.set(row.enrollmentKey, channel);
    if (row.certificate !== undefined) this.#owners.set(row.certificate.sha256, channel.deviceId);
  }

  recordTokenUpdate(row: TokenUpdateRow): Promise<void> {
    return this.#tokenUpdates.add(row);
  }

  /** @returns whether the CommandUUID is known */
  recordReport(row: ReportRow): Promise<boolean> {
    return this.#reports.add(row);
  }

  nextCommand(enrollmentId: number, skipNotNow: boolean): Promise<NextCommand | undefined> {
    return this.#nextCommands.add({ enrollmentId, skipNotNow });
  }

  /** Resolves when every request's batch has been answered. */
  async drain(): Promise<void> {
    for (const gatherer of [
      this.#identities,
      this.#authenticates,
      this.#tokenUpdates,
      this.#reports,
      this.#nextCommands,
    ])
      await gatherer.drain();
  }

  /** Items per batch so far, by operation: what gathering saves. */
  batching(): Record<string, { items: number; batches: number }> {
    const of = ({ items, batches }: { items: number; batches: number }) => ({ items, batches });
    return {
      identify: of(this.#identities),
      authenticate: of(this.#authenticates),
      token_update: of(this.#tokenUpdates),
      report: of(this.#reports),
      next_command: of(this.#nextCommands),
    };
  }

  #recall(keys: readonly string[], sha256: string | undefined): IdentityAnswer | undefined {
    const certificateOf = sha256 === undefined ? undefined : this.#owners.get(sha256);
    if (sha256 !== undefined && certificateOf === undefined) return undefined;
    const channels = new Map<string, Channel>();
    for (const key of keys) {
      const channel = this.#channels.get(key);
      if (channel === undefined) return undefined;
      channels.set(key, channel);
    }
    return { channels, certificateOf };
  }

  async #readNextCommands(
    db: Db,
    items: readonly { enrollmentId: number; skipNotNow: boolean }[],
  ): Promise<(NextCommand | undefined)[]> {
    const idsOf = (skipNotNow: boolean) =>
      items.filter((item) => item.skipNotNow === skipNotNow).map((item) => item.enrollmentId);
    const [all, skipping] = [
      await readNextCommandIds(db, idsOf(false), false),
      await readNextCommandIds(db, idsOf(true), true),
    ];
    const commandIds = items.map((item) => (item.skipNotNow ? skipping : all).get(item.enrollmentId));
    const wanted = new Map<number, NextCommand>();
    const missing = new Set<number>();
    for (const id of commandIds) {
      if (id === undefined) continue;
      const body = this.#bodies.get(id);
      if (body === undefined) missing.add(id);
      else wanted.set(id, body);
    }
    for (const [id, row] of await readCommandBodies(db, [...missing])) {
      const command = { commandUuid: row.commandUuid, body: db.secrets.open(COMMAND_BODY, row.bodySealed) };
      this.#bodies.set(id, command);
      this.#sent.set(row.commandUuid, { id, priority: row.priority, requestType: row.requestType });
      wanted.set(id, command);
    }
    return commandIds.map((id) => (id === undefined ? undefined : wanted.get(id)));
  }
}

const isLockTimeout = (error: unknown): boolean => error instanceof Error && 'errno' in error && error.errno === 1205;

/**
 * One transaction. A row that somebody holds for seconds (1205) must not hold up everyone whose message is in the same batch, so the batch is not tried again as a whole
 * but split by the gatherer. By itself an Authenticate or TokenUpdate is patient, as a refusal would end the enrollment; a report comes again.
 * @throws RowHeld
 */
const record = <T>(db: Db, isPatient: boolean, work: (t: Transaction) => Promise<T>): Promise<T> =>
  transaction(db, work, undefined, (error) => isContention(error) && (isPatient || !isLockTimeout(error))).catch(
    (error: unknown) => {
      throw !isPatient && isLockTimeout(error)
        ? new RowHeld('a row is held by somebody else', { cause: error })
        : error;
    },
  );

async function readIdentities(db: Db, questions: readonly IdentityQuestion[]): Promise<IdentityAnswer[]> {
  const hashes = questions.flatMap((question) => question.sha256 ?? []);
  const [channels, owners] = await Promise.all([
    readChannels(db, [...new Set(questions.flatMap((question) => question.keys))]),
    hashes.length > 0 ? readCertificateOwners(db, hashes) : new Map<string, number>(),
  ]);
  return questions.map(({ keys, sha256 }) => ({
    channels: new Map(keys.flatMap((key) => (channels.has(key) ? [[key, channels.get(key) as Channel]] : []))),
    certificateOf: sha256 === undefined ? undefined : owners.get(sha256),
  }));
}
