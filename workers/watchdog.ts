import type { JobKind } from '../domain/job-kinds.ts';
import type { RunningWorker } from './start-workers.ts';

export interface WatchdogOptions {
  readonly running: readonly RunningWorker[];
  /** Jobs waiting in the queue of a kind, 0 for a paused one; rejects when Redis is away. */
  waiting(kind: JobKind): Promise<number>;
  /** Called once with the kind that stands still. The process should end: whoever started it starts it again. */
  onStuck(kind: JobKind): void;
  readonly everyMs?: number;
  readonly stuckAfterMs?: number;
}

/**
 * Watches for a worker that has stopped consuming without saying so (BullMQ has had such a bug): jobs wait, none runs here, none has moved for a while.
 * @returns a function that stops it
 */
export function startWatchdog({
  running,
  waiting,
  onStuck,
  everyMs = 15_000,
  stuckAfterMs = 90_000,
}: WatchdogOptions): () => void {
  const waitingSince = new Map<JobKind, number>();
  let isStopped = false;
  const check = async (): Promise<void> => {
    for (const { kind, active, lastMovedAt } of running) {
      const count = await waiting(kind).catch(() => 0);
      if (isStopped) return;
      if (count === 0 || active() > 0) waitingSince.delete(kind);
      else if (!waitingSince.has(kind)) waitingSince.set(kind, Date.now());
      const since = Math.max(waitingSince.get(kind) ?? Number.POSITIVE_INFINITY, lastMovedAt());
      if (Date.now() - since >= stuckAfterMs) return onStuck(kind);
    }
    timer = setTimeout(check, everyMs);
  };
  let timer = setTimeout(check, everyMs);
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}
