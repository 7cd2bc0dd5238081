import { join } from 'node:path';
import type { LoadOrder } from './load-main.ts';
import type { LoadResult } from './load-runs.ts';
import { type Program, startProgram } from './program.ts';

/** The load generator as the bench sees it: one order at a time. */
export class Load {
  readonly #program: Program;

  private constructor(program: Program) {
    this.#program = program;
  }

  static async start(folder: string): Promise<Load> {
    return new Load(await startProgram('bench/load-main.ts', { logFile: join(folder, 'load.log') }));
  }

  get pid(): number {
    return this.#program.pid;
  }

  async run(order: Extract<LoadOrder, { act: 'enroll' | 'poll' | 'cycle' | 'enqueue' | 'push' }>): Promise<LoadResult> {
    const value = await this.#ask(order);
    if (typeof value !== 'object' || value === null || !('latencies' in value)) throw new Error('no result of a run');
    return value as LoadResult;
  }

  async do(order: Extract<LoadOrder, { act: 'make' | 'forget' | 'prepare' }>): Promise<void> {
    await this.#ask(order);
  }

  async queueForAll(order: Omit<Extract<LoadOrder, { act: 'queue' }>, 'act'>): Promise<string> {
    return String(await this.#ask({ act: 'queue', ...order }));
  }

  async idsOf(fleet: string): Promise<string[]> {
    const value = await this.#ask({ act: 'ids', fleet });
    return Array.isArray(value) ? value.map(String) : [];
  }

  stop(): Promise<void> {
    return this.#program.stop();
  }

  /** @throws what went wrong over there */
  #ask(order: LoadOrder): Promise<unknown> {
    const { child } = this.#program;
    return new Promise((resolve, reject) => {
      const onExit = (): void => reject(new Error('the load generator is gone'));
      child.once('exit', onExit);
      child.once('message', (answer: { value?: unknown; error?: string }) => {
        child.off('exit', onExit);
        if (answer.error === undefined) resolve(answer.value);
        else reject(new Error(answer.error));
      });
      child.send(order);
    });
  }
}
