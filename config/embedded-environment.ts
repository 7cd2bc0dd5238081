import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NAMES = ['DATABASE_URL', 'REDIS_URL', 'SECRET_KEY'] as const;
type Shared = Readonly<Record<(typeof NAMES)[number], string>>;

const fileIn = (dataDir: string): string => join(dataDir, 'environment');

/** Written by `npm start` for the small programs (doctor, api-key, …): how to reach the embedded stack. Readable by its owner only. */
export function writeEmbeddedEnvironment(dataDir: string, shared: Shared): void {
  writeFileSync(fileIn(dataDir), NAMES.map((name) => `${name}=${shared[name]}\n`).join(''), { mode: 0o600 });
}

/** The variables, and those of the embedded stack: of `dataDir` when it is named, otherwise of `DATA_DIR` where the variables say nothing about a database. */
export function withEmbeddedEnvironment(
  dataDir?: string,
  variables: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  if (dataDir === undefined && variables.DATABASE_URL) return variables;
  try {
    const text = readFileSync(fileIn(dataDir ?? (variables.DATA_DIR || '.espalier')), 'utf8');
    const embedded = Object.fromEntries(
      text
        .split('\n')
        .flatMap((line) =>
          line.includes('=') ? [[line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]] : [],
        ),
    );
    return dataDir === undefined ? { ...embedded, ...variables } : { ...variables, ...embedded };
  } catch {
    return variables;
  }
}
