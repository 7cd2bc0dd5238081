import { readWorkerEnvironment } from '../config/env.ts';
import { createLog, type Log } from '../config/log.ts';
import { type RunningProcess, runProcess } from '../config/run-process.ts';
import { openWorkerProcess } from './worker-process.ts';

let log: Log = createLog({ level: 'info', name: 'worker' });
let shutdownMs = 20_000;

async function start(): Promise<RunningProcess> {
  const environment = readWorkerEnvironment();
  log = createLog({ level: environment.LOG_LEVEL, name: 'worker' });
  shutdownMs = environment.SHUTDOWN_SECONDS * 1_000;
  const worker = await openWorkerProcess(environment, log);
  process.send?.({ ready: true });
  return worker;
}

await runProcess(
  () => log,
  start,
  () => shutdownMs,
);
