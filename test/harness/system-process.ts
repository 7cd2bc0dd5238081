import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const READY_WITHIN_MS = 60_000;
/** Beyond a program's own SHUTDOWN_SECONDS and its hard limit. */
const STOP_WITHIN_MS = 40_000;
const KEPT_LINES = 2_000;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One of Espalier's own programs, as a real process. */
export class SystemProcess {
  readonly name: string;
  readonly #script: string;
  readonly #variables: NodeJS.ProcessEnv;
  readonly #lines: string[] = [];
  readonly #ends: string[] = [];
  readonly #pids: number[] = [];
  #child: ChildProcess | undefined;
  #isExpectedToEnd = false;

  /** @param script below the root of the project */
  constructor(name: string, script: string, variables: NodeJS.ProcessEnv) {
    this.name = name;
    this.#script = script;
    this.#variables = variables;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Of all its lives. */
  get pids(): readonly number[] {
    return this.#pids;
  }

  /** The last lines that it wrote, of all its lives. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** The ends that nobody asked for: crashes. */
  get unexpectedEnds(): readonly string[] {
    return this.#ends;
  }

  /** Resolves once it says that it is ready. @throws with its last lines when it ends first */
  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.name} runs already`);
    const child = fork(`${ROOT}${this.#script}`, [], {
      cwd: ROOT,
      env: this.#variables,
      execArgv: [],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child = child;
    if (child.pid !== undefined) this.#pids.push(child.pid);
    this.#isExpectedToEnd = false;
    for (const output of [child.stdout, child.stderr])
      output?.setEncoding('utf8').on('data', (text) => this.#keep(text));
    child.once('exit', (code, signal) => {
      this.#child = undefined;
      if (!this.#isExpectedToEnd) this.#ends.push(`${this.name} ended by itself with ${signal ?? `status ${code}`}`);
    });
    const ready = new Promise<string>((resolve) => child.once('message', () => resolve('ready')));
    const ended = once(child, 'exit').then(() => 'ended');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(resolve, READY_WITHIN_MS, 'said nothing');
    });
    const outcome = await Promise.race([ready, ended, late]);
    clearTimeout(timer);
    if (outcome === 'ready') return;
    await this.kill();
    throw new Error(`${this.name} ${outcome} before it was ready:\n${this.tail()}`);
  }

  /** kill -9, resolves when it is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM; gives how it ended. */
  async stop(): Promise<Exit> {
    const child = this.#child;
    const limit = setTimeout(() => child?.kill('SIGKILL'), STOP_WITHIN_MS);
    const exit = await this.#end('SIGTERM');
    clearTimeout(limit);
    return exit;
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  tail(count = 60): string {
    return this.#lines
      .slice(-count)
      .map((line) => `  ${this.name} │ ${line}`)
      .join('\n');
  }

  async #end(signal: NodeJS.Signals): Promise<Exit> {
    const child = this.#child;
    if (child === undefined) return { code: null, signal: null };
    this.#isExpectedToEnd = true;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    return { code: child.exitCode, signal: child.signalCode };
  }

  #keep(text: string): void {
    for (const line of text.split('\n')) if (line !== '') this.#lines.push(line);
    if (this.#lines.length > 2 * KEPT_LINES) this.#lines.splice(0, this.#lines.length - KEPT_LINES);
  }
}

/** Runs a program to its end, as `npm run migrate` would. @throws unless it ends with status 0 */
export async function runProgram(script: string, variables: NodeJS.ProcessEnv): Promise<void> {
  const child = fork(`${ROOT}${script}`, [], {
    cwd: ROOT,
    env: variables,
    execArgv: [],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${script} ended with ${code}:\n${output}`);
}

/** Whether a process with this number exists. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
