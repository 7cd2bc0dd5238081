/** A worker process to be killed: `node test/harness/core-worker.ts <CoreWorkerOptions as JSON>`. It sends "ready" to its parent. */
import { doChores, HOST_KIND, hostJob, writeLedger } from './core-fixture.ts';
import { type CoreOptions, startCore } from './core-process.ts';

export interface CoreWorkerOptions extends Omit<CoreOptions, 'jobs'> {
  /** These keys kill their process when they are run. */
  readonly killers?: readonly string[];
  /** Share of the runs that throw after their effect. */
  readonly poison?: number;
  /** Longest time between effect and commit, so that kills hit there. */
  readonly lingerMs?: number;
}

const options: CoreWorkerOptions = JSON.parse(process.argv[2] ?? '{}');
const { killers, poison = 0, lingerMs = 0 } = options;

const killer = hostJob({
  run: async (t, keys) => {
    await writeLedger(t, HOST_KIND, keys);
    if (keys.some((key) => killers?.includes(key))) process.kill(process.pid, 'SIGKILL');
    return undefined;
  },
});

const chores = hostJob({
  backoffCapMs: 200,
  run: async (t, keys) => {
    await doChores(t, keys);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * lingerMs));
    if (Math.random() < poison) throw new Error('poison');
    return undefined;
  },
});

await startCore({ ...options, jobs: [killers === undefined ? chores : killer] });
process.send?.('ready');
