import { fileURLToPath } from 'node:url';
import { EnvironmentError, flagsToVariables } from '../config/env.ts';
import { logToConsole } from './log.ts';
import { runEspalier } from './run-espalier.ts';
import { StackError } from './stack-error.ts';

// `npm start`: the whole of Espalier on one machine. Ctrl-C stops it in order, a second one at once.

// One Ctrl-C may arrive twice: from the terminal, and again from npm, which passes on what it gets.
const ECHO_MS = 1_000;

const script = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const stop = new AbortController();
const hurry = new AbortController();
let firstSignalAt: number | undefined;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    firstSignalAt ??= performance.now();
    stop.abort();
    if (performance.now() - firstSignalAt > ECHO_MS) hurry.abort();
  });
}

// A terminal that was closed must not end us before the database is stopped.
for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined);

try {
  await runEspalier({
    variables: { ...process.env, ...flagsToVariables(process.argv.slice(2)) },
    scripts: {
      migrate: script('db/migrate-main.ts'),
      server: script('server/main.ts'),
      workers: script('workers/main.ts'),
    },
    log: logToConsole,
    stopped: stop.signal,
    hurried: hurry.signal,
  });
} catch (error) {
  // What a person can act on is a message; everything else is a bug and keeps its stack trace.
  console.error(error instanceof StackError || error instanceof EnvironmentError ? error.message : error);
  process.exitCode = 1;
}
