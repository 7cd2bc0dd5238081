import { setTimeout as sleep } from 'node:timers/promises';
import type { ProcessIdentity } from './process-identity.ts';
import { isAlive } from './process-identity.ts';
import { StackError } from './stack-error.ts';

const POLL_MS = 20;

/** Resolves true once `hasHappened`, false when `withinMs` have passed or `hurry` is aborted first. */
export async function waitUntil(hasHappened: () => boolean, withinMs: number, hurry?: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  while (!hasHappened()) {
    if (performance.now() >= deadline || hurry?.aborted === true) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/**
 * Stops a process, of ours or not: SIGTERM, then SIGKILL after `withinMs` or as soon as `hurry` is aborted.
 * The identity is looked at before each signal, so a number that somebody else got meanwhile is left alone.
 * Throws StackError `folder-in-use` when the process may not be signalled or does not go away.
 */
export async function stopProcess(identity: ProcessIdentity, withinMs: number, hurry?: AbortSignal): Promise<void> {
  const isGone = (): boolean => !isAlive(identity);
  signal(identity, 'SIGTERM');
  if (await waitUntil(isGone, withinMs, hurry)) return;
  signal(identity, 'SIGKILL');
  if (await waitUntil(isGone, 10_000)) return;
  throw new StackError('folder-in-use', `Process ${identity.pid} does not end, not even by SIGKILL.`);
}

/** Sends a signal to exactly this process, if it is still there. */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, name);
  } catch (error) {
    if (!isAlive(identity)) return;
    throw new StackError('folder-in-use', `Process ${identity.pid} may not be stopped: it belongs to another user.`, {
      cause: error,
    });
  }
}
