import { EnvironmentError } from './env.ts';
import type { Log } from './log.ts';

/** What a long-lived process does besides its work: ends on signals and when its parent is gone, and says why it could not start. */
export interface RunningProcess {
  /** Ends in order. Called once. */
  stop(): Promise<void>;
}

/** Seconds after which a stop that hangs is given up: what is owed is in MySQL. */
const HARD_LIMIT_EXTRA_MS = 5_000;

/** Starts, tells a parent that watches, and stops on SIGTERM, SIGINT or when the parent's channel closes. */
export async function runProcess(
  log: () => Log,
  start: () => Promise<RunningProcess>,
  shutdownMs: () => number,
): Promise<void> {
  let running: RunningProcess;
  try {
    running = await start();
  } catch (error) {
    // A person reads this one: no stack trace for a wrong setting.
    if (error instanceof EnvironmentError) process.stderr.write(`${error.message}\n`);
    else log().error('process.unstartable', { error });
    process.exit(1);
  }
  let isStopping = false;
  const stop = (because: string): void => {
    if (isStopping) return;
    isStopping = true;
    log().info('process.stopping', { because });
    setTimeout(() => {
      log().error('process.stuck', { limitMs: shutdownMs() });
      process.exit(1);
    }, shutdownMs() + HARD_LIMIT_EXTRA_MS).unref();
    running.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log().error('process.unstoppable', { error });
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('disconnect', () => stop('the parent is gone'));
}
