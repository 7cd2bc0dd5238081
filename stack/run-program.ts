import { spawn } from 'node:child_process';

export type ProgramResult = {
  /** Exit status; null after a signal, the time limit included. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type RunOptions = {
  readonly argv0?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly timeoutMs?: number;
  /** Shows the program's output as it comes instead of returning it. */
  readonly isShown?: boolean;
};

/** Runs a program to its end. Rejects only when it cannot be started (ENOENT, EACCES). */
export function runProgram(path: string, args: readonly string[], options: RunOptions = {}): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const output = options.isShown === true ? 'inherit' : 'pipe';
    const child = spawn(path, args, {
      stdio: ['ignore', output, output],
      ...(options.argv0 === undefined ? {} : { argv0: options.argv0 }),
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs, killSignal: 'SIGKILL' }),
    });
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk;
    });
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}
