import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { writePidFile } from './pid-file.ts';
import type { RunningProcess } from './running-process.ts';
import { describeExit, runningProcess, spawnProcess, UNREADY_STOP_MS } from './running-process.ts';
import { StackError } from './stack-error.ts';

export type ChildLaunch = {
  /** For messages: "The server". */
  readonly name: string;
  /** A TypeScript file that this Node runs. */
  readonly script: string;
  readonly env: NodeJS.ProcessEnv;
  readonly pidFile: string;
  readonly stopWithinMs: number;
  /** Aborted to give up waiting for it. */
  readonly stopping: AbortSignal;
  /** When given, the child is ready once it has sent `{ ready: true }`; otherwise as soon as it runs. */
  readonly readyWithinMs?: number;
  readonly onReady?: (message: ReadyMessage) => void;
};

/** What a child tells us with `process.send` once it is ready; the server also where it listens. */
export type ReadyMessage = { readonly ready: true; readonly port?: number };

/**
 * Starts one of Espalier's own programs on our terminal, with a channel whose 'disconnect' tells it that we are gone.
 * Throws StackError `child-failed` when it ends, or says nothing in time, before it is ready.
 */
export async function launchChild(launch: ChildLaunch): Promise<RunningProcess> {
  launch.stopping.throwIfAborted();
  const child = await spawnProcess(process.execPath, [launch.script], {
    env: launch.env,
    output: 'inherit',
    hasChannel: true,
    isDetached: true,
  });
  const ready = new Promise<ReadyMessage>((resolve) => {
    child.on('message', (message) => {
      if (isReadyMessage(message)) resolve(message);
    });
  });
  const running = runningProcess(child, launch.stopWithinMs);
  writePidFile(launch.pidFile, running.pid);
  void running.exited.then(() => rmSync(launch.pidFile, { force: true }));
  if (launch.readyWithinMs !== undefined) await waitUntilReady(launch, running, ready, launch.readyWithinMs);
  return running;
}

async function waitUntilReady(
  launch: ChildLaunch,
  running: RunningProcess,
  ready: Promise<ReadyMessage>,
  withinMs: number,
): Promise<void> {
  const over = new AbortController();
  const ended = running.exited.then((exit) => `ended with ${describeExit(exit)} before it was ready`);
  const late = sleep(withinMs, `was not ready within ${withinMs / 1000} s`, {
    signal: AbortSignal.any([launch.stopping, over.signal]),
  }).catch(() => 'was stopped');
  const outcome = await Promise.race([ready, ended, late]);
  over.abort();
  if (typeof outcome !== 'string') {
    launch.onReady?.(outcome);
    return;
  }
  await running.stop(AbortSignal.timeout(UNREADY_STOP_MS));
  launch.stopping.throwIfAborted();
  throw new StackError('child-failed', `${launch.name} ${outcome}; its own messages are above.`);
}

function isReadyMessage(message: unknown): message is ReadyMessage {
  if (typeof message !== 'object' || message === null || !('ready' in message) || message.ready !== true) return false;
  return !('port' in message) || typeof message.port === 'number';
}
