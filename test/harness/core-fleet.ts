import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { CoreWorkerOptions } from './core-worker.ts';

const WORKER = fileURLToPath(new URL('core-worker.ts', import.meta.url));

export interface CoreFleet {
  /** How many processes have died so far. */
  readonly deaths: () => number;
  /** kill -9 of the n-th worker; it is started again. */
  kill(index: number): void;
  stop(): Promise<void>;
}

/** Real worker processes, started again whenever they die. */
export async function startCoreFleet(count: number, options: CoreWorkerOptions): Promise<CoreFleet> {
  const members: ChildProcess[] = [];
  let deaths = 0;
  let isStopped = false;
  const start = async (index: number): Promise<void> => {
    const child = fork(WORKER, [JSON.stringify(options)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    members[index] = child;
    child.once('exit', () => {
      deaths += 1;
      if (!isStopped) void start(index);
    });
    await Promise.race([once(child, 'message'), once(child, 'exit')]);
  };
  await Promise.all(Array.from({ length: count }, (_, index) => start(index)));
  return {
    deaths: () => deaths,
    kill: (index) => void members[index]?.kill('SIGKILL'),
    async stop() {
      isStopped = true;
      for (const child of members) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }
    },
  };
}
