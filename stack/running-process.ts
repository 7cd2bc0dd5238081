import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import type { Log } from './log.ts';
import { messageOf } from './stack-error.ts';
import { waitUntil } from './stop-process.ts';

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** A process of ours that has said it is ready. */
export type RunningProcess = {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  signal(name: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after the process's own time limit or as soon as `hurry` is aborted. */
  stop(hurry?: AbortSignal): Promise<void>;
};

export const describeExit = ({ code, signal }: Exit): string =>
  signal === null ? `status ${code ?? 'unknown'}` : `signal ${signal}`;

/** How long a process that is not ready yet may take to end before it is killed. */
export const UNREADY_STOP_MS = 5_000;

/** Starts a program, its output in a file or on our terminal. Rejects when it cannot be started. */
export async function spawnProcess(
  path: string,
  args: readonly string[],
  options: {
    readonly argv0?: string;
    readonly env?: NodeJS.ProcessEnv;
    readonly cwd?: string;
    readonly output: number | 'inherit';
    readonly hasChannel: boolean;
    /** A session of its own, so that Ctrl-C at the terminal reaches only us and the order of stopping stays ours. */
    readonly isDetached: boolean;
  },
): Promise<ChildProcess> {
  const child = spawn(path, args, {
    stdio: ['ignore', options.output, options.output, ...(options.hasChannel ? ['ipc' as const] : [])],
    detached: options.isDetached,
    ...(options.argv0 === undefined ? {} : { argv0: options.argv0 }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  child.on('error', () => undefined); // a message to a child that is just dying is no failure of ours
  return child;
}

/** The handle on a child that runs. */
export function runningProcess(child: ChildProcess, stopWithinMs: number): RunningProcess {
  const exited = new Promise<Exit>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null)
      resolve({ code: child.exitCode, signal: child.signalCode });
    else child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const isGone = (): boolean => child.exitCode !== null || child.signalCode !== null;
  return {
    pid: child.pid ?? 0,
    exited,
    signal: (name) => void child.kill(name),
    stop: async (hurry) => {
      child.kill('SIGTERM');
      if (!(await waitUntil(isGone, stopWithinMs, hurry))) child.kill('SIGKILL');
      await exited;
    },
  };
}

/** A process that is started again whenever it ends without being told to. */
export type KeptProcess = {
  readonly name: string;
  /** Undefined while it is down. */
  readonly pid: number | undefined;
  signal(name: NodeJS.Signals): void;
  stop(hurry?: AbortSignal): Promise<void>;
  /** After stop(): starts it again. Does nothing while it runs. */
  start(): Promise<void>;
};

export type KeepOptions = {
  readonly name: string;
  /** Resolves when the process is ready; called for every start. Gives up, rejecting, when `stopping` is aborted. */
  readonly launch: (stopping: AbortSignal) => Promise<RunningProcess>;
  readonly isRestarted: boolean;
  readonly log: Log;
  /** Ends the first start early. */
  readonly stopped?: AbortSignal | undefined;
  /** Wait before restart n = 0, 1, 2, … of a row of crashes. */
  readonly backoffMs?: (crashes: number) => number;
};

const SETTLED_AFTER_MS = 60_000;
const defaultBackoffMs = (crashes: number): number => Math.min(500 * 2 ** crashes, 30_000);

/** Starts a process and keeps it running. Rejects when the first start fails: then there is nothing to keep. */
export async function keepRunning(options: KeepOptions): Promise<KeptProcess> {
  const kept = new Keeper(options);
  await kept.start();
  return kept;
}

class Keeper implements KeptProcess {
  readonly name: string;
  readonly #options: KeepOptions;
  #running: RunningProcess | undefined;
  #stopping = new AbortController();
  #restarting: Promise<void> = Promise.resolve();

  constructor(options: KeepOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#running?.pid;
  }

  signal(name: NodeJS.Signals): void {
    this.#running?.signal(name);
  }

  async start(): Promise<void> {
    if (this.#running !== undefined) return;
    this.#stopping = new AbortController();
    await this.#launch(0);
  }

  async stop(hurry?: AbortSignal): Promise<void> {
    this.#stopping.abort();
    await this.#restarting;
    await this.#running?.stop(hurry);
    this.#running = undefined;
  }

  async #launch(crashes: number): Promise<void> {
    const { launch, stopped } = this.#options;
    const stopping = this.#stopping.signal;
    const running = await launch(stopped === undefined ? stopping : AbortSignal.any([stopping, stopped]));
    this.#running = running;
    const startedAt = performance.now();
    void running.exited.then((exit) => {
      if (this.#running === running) this.#running = undefined;
      if (this.#stopping.signal.aborted) return;
      const hadSettled = performance.now() - startedAt > SETTLED_AFTER_MS;
      this.#restarting = this.#restart(`ended with ${describeExit(exit)}`, hadSettled ? 0 : crashes);
    });
  }

  async #restart(why: string, crashes: number): Promise<void> {
    const { name, log, isRestarted, backoffMs = defaultBackoffMs } = this.#options;
    if (!isRestarted) return log(`${name} ${why}.`);
    const delayMs = backoffMs(crashes);
    log(`${name} ${why}; starting it again in ${delayMs / 1000} s.`);
    const { signal } = this.#stopping;
    if (await waitUntil(() => signal.aborted, delayMs)) return;
    try {
      await this.#launch(crashes + 1);
      log(`${name} runs again (process ${this.#running?.pid ?? 'already gone'}).`);
    } catch (error) {
      if (signal.aborted) return;
      await this.#restart(`cannot be started: ${messageOf(error)}`, crashes + 1);
    }
  }
}
