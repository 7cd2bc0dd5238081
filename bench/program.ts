import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

export interface Program {
  readonly pid: number;
  /** What it said when it was ready. */
  readonly ready: Ready;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

export interface Ready {
  readonly port?: number;
  readonly url?: string;
  readonly caPem?: string;
}

export interface ProgramOptions {
  readonly variables?: NodeJS.ProcessEnv;
  /** What it logs goes there, as it would in service. */
  readonly logFile: string;
  readonly nodeFlags?: readonly string[];
}

/** Starts one of our programs (a path below the root) and waits until it says that it is ready. @throws when it ends before that */
export async function startProgram(script: string, options: ProgramOptions): Promise<Program> {
  const output = openSync(options.logFile, 'a');
  const child = fork(`${ROOT}${script}`, [], {
    cwd: ROOT,
    execArgv: [...(options.nodeFlags ?? [])],
    env: { PATH: process.env.PATH, ...options.variables },
    stdio: ['ignore', output, output, 'ipc'],
    serialization: 'advanced',
  });
  const ended = once(child, 'exit').then((): false => false);
  const ready = new Promise<Ready>((resolve) => child.once('message', resolve));
  const message = await Promise.race([ready, ended]);
  if (message === false) throw new Error(`${script} ended at once; see ${options.logFile}`);
  return {
    pid: child.pid ?? 0,
    ready: message,
    child,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
