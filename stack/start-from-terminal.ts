import { checkFlags, describeVariables, ENVIRONMENT, EnvironmentError, flagsToVariables } from '../config/env.ts';
import type { Environment } from './find-binaries.ts';
import { logToConsole } from './log.ts';
import type { Scripts } from './run-espalier.ts';
import { runEspalier } from './run-espalier.ts';
import { StackError } from './stack-error.ts';

// One Ctrl-C may arrive twice: from the terminal, and again from npm, which passes on what it gets.
const ECHO_MS = 1_000;
/** What only the embedded stack reads (find-binaries.ts, install-binaries.ts). */
const OWN_VARIABLES = ['MYSQLD', 'REDIS_SERVER', 'INSTALL_BINARIES'];

/**
 * Runs everything until SIGINT, SIGTERM or SIGHUP; a second signal stops it at once. Sets the exit code.
 *
 * @param args flags that stand for variables: `--port 9001` is PORT=9001
 */
export async function startFromTerminal(
  args: readonly string[],
  environment: Environment,
  scripts: Scripts,
): Promise<void> {
  const { stopped, hurried } = stopOnSignals();
  // A terminal that was closed must not end us before the database is stopped.
  for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined);
  try {
    const flags = flagsToVariables(args);
    if ('HELP' in flags)
      return console.log(
        `npm start -- [--name value]…; each stands for the variable of the same name:\n${describeVariables()}`,
      );
    checkFlags(flags, [...Object.keys(ENVIRONMENT.shape), ...OWN_VARIABLES]);
    const variables = { ...environment, ...flags };
    await runEspalier({ variables, scripts, log: logToConsole, stopped, hurried });
  } catch (error) {
    // What a person can act on is a message; everything else is a bug and keeps its stack trace.
    console.error(error instanceof StackError || error instanceof EnvironmentError ? error.message : error);
    process.exitCode = 1;
  }
}

function stopOnSignals(): { readonly stopped: AbortSignal; readonly hurried: AbortSignal } {
  const stop = new AbortController();
  const hurry = new AbortController();
  let firstAt: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      firstAt ??= performance.now();
      stop.abort();
      if (performance.now() - firstAt > ECHO_MS) hurry.abort();
    });
  }
  return { stopped: stop.signal, hurried: hurry.signal };
}
