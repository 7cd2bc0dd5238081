import type { PoolConnection, ResultSetHeader } from 'mysql2/promise';
import type { Executor, Values } from './connection.ts';

/** Bytes of statements per round trip: far below any `max_allowed_packet`. A longer statement travels alone. */
const MAX_PACK_BYTES = 1024 * 1024;

interface Waiting {
  readonly text: string;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/**
 * The statements of one transaction. Those that are issued without awaiting the ones before travel in one round trip, in their order, so a transaction costs as many
 * round trips as it has answers to wait for; START TRANSACTION and COMMIT travel with their neighbours. A statement whose answer nobody needs is issued with `void`.
 *
 * The server stops at the first statement that fails, and everything that was or will be issued then fails with the same error, COMMIT too: nobody can overlook it,
 * and nobody can catch it and go on.
 */
export class Pipeline implements Executor {
  readonly #connection: PoolConnection;
  #waiting: Waiting[] = [];
  #isFlying = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(connection: PoolConnection) {
    this.#connection = connection;
  }

  rows<T extends object>(sql: string, values?: Values): Promise<T[]> {
    return this.#issue(sql, values, (result) => result as T[]);
  }

  run(sql: string, values?: Values): Promise<{ affectedRows: number; insertId: number }> {
    return this.#issue(sql, values, (result) => {
      const { affectedRows, insertId } = result as ResultSetHeader;
      return { affectedRows, insertId };
    });
  }

  /**
   * For a query whose answer nobody needs: it travels along with what follows, and should it fail, COMMIT does. Of one statement, or of several issued at once: one that is
   * issued after another's answer would come too late.
   */
  leave(query: Promise<unknown>): void {
    query.catch((error: unknown) => this.#fail(error));
  }

  /** Undoes everything, whatever has failed. */
  async rollback(): Promise<void> {
    this.#fail(new Error('the transaction was rolled back'));
    await this.#connection.query('ROLLBACK');
  }

  #issue<T>(sql: string, values: Values = [], read: (result: unknown) => T): Promise<T> {
    const text = values.length === 0 ? sql : this.#connection.format(sql, [...values]);
    const answer = new Promise<T>((resolve, reject) => {
      if (this.#failure === undefined) this.#waiting.push({ text, resolve: (result) => resolve(read(result)), reject });
      else reject(this.#failure.error);
    });
    // Whoever awaits it still gets the error; for those who do not, COMMIT will.
    answer.catch(() => {});
    if (!this.#isFlying) {
      this.#isFlying = true;
      // Behind all promises that are being settled now: what follows at once travels along.
      process.nextTick(() => void this.#fly());
    }
    return answer;
  }

  async #fly(): Promise<void> {
    while (this.#waiting.length > 0) {
      const pack = this.#nextPack();
      try {
        // Without `null` the driver would search the finished text for placeholders, letter by letter.
        const [results] = await this.#connection.query(pack.map(({ text }) => text).join(';\n'), null);
        const each = pack.length === 1 ? [results] : (results as unknown[]);
        pack.forEach(({ resolve }, index) => void resolve(each[index]));
      } catch (error) {
        this.#waiting.unshift(...pack);
        this.#fail(error);
      }
    }
    this.#isFlying = false;
  }

  #nextPack(): Waiting[] {
    let bytes = 0;
    const length = this.#waiting.findIndex(({ text }, index) => {
      bytes += text.length;
      return index > 0 && bytes > MAX_PACK_BYTES;
    });
    return this.#waiting.splice(0, length < 0 ? this.#waiting.length : length);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure.error);
  }
}
