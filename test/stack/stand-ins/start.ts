import { fileURLToPath } from 'node:url';
import { startFromTerminal } from '../../../stack/start-from-terminal.ts';

// `npm start` with small programs in the place of Espalier's own; STAND_IN_… names others.

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const { STAND_IN_MIGRATE = 'migrate.ts', STAND_IN_SERVER = 'server.ts' } = process.env;

await startFromTerminal(process.argv.slice(2), process.env, {
  migrate: script(STAND_IN_MIGRATE),
  server: script(STAND_IN_SERVER),
  workers: script('workers.ts'),
});
