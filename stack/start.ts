import { fileURLToPath } from 'node:url';
import { startFromTerminal } from './start-from-terminal.ts';

// `npm start`: the whole of Espalier on one machine.

const script = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

await startFromTerminal(process.argv.slice(2), process.env, {
  migrate: script('db/migrate-main.ts'),
  server: script('server/main.ts'),
  workers: script('workers/main.ts'),
});
