import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** What the files of a top-level folder may import of ours: data flows one way (docs/architecture.md). A folder may always import itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  mdm: [],
  config: [],
  domain: ['mdm'],
  db: ['config', 'domain', 'mdm'],
  queue: ['config', 'domain', 'db'],
  push: ['config', 'mdm', 'db'],
  server: ['config', 'mdm', 'domain', 'db', 'queue', 'push'],
  workers: ['config', 'mdm', 'domain', 'db', 'queue', 'push'],
  simulator: ['mdm'],
  stack: ['config'],
  bench: ['test', 'config', 'mdm', 'domain', 'db', 'queue', 'push', 'server', 'workers', 'simulator', 'stack'],
};

const FORBIDDEN_FOLDERS = ['src', 'lib', 'utils', 'common', 'helpers'];

function* files(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* files(path);
    else if (/\.m?ts$/.test(name)) yield path;
  }
}

const sources = Object.keys(MAY_IMPORT).flatMap((folder) => [...files(join(ROOT, folder))]);
const IMPORT = /^(?:import|export)\b[^;]*?from\s+'([^']+)'|\bimport\('([^']+)'\)/gm;

const importsOf = (path: string): string[] =>
  [...readFileSync(path, 'utf8').matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? '');

describe('the tree', () => {
  it('imports go down the flow only', () => {
    const wrong = sources.flatMap((path) => {
      const folder = relative(ROOT, path).split('/')[0] ?? '';
      return importsOf(path)
        .filter((specifier) => specifier.startsWith('.'))
        .map((specifier) => relative(ROOT, resolve(dirname(path), specifier)))
        .filter((target) => {
          const other = target.split('/')[0] ?? '';
          return other !== folder && !MAY_IMPORT[folder]?.includes(other) && other !== 'package.json';
        })
        .map((target) => `${relative(ROOT, path)} → ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it('only config/ reads the environment of a process', () => {
    // stack/ starts the processes and hands their environment on; simulator and bench are programs of their own.
    const readers = sources
      .map((path) => relative(ROOT, path))
      .filter((path) => /^(mdm|domain|db|queue|push|server|workers)\//.test(path));
    expect(readers.filter((path) => /process\.env\b/.test(readFileSync(join(ROOT, path), 'utf8')))).toEqual([]);
  });

  it('only queue/ adds jobs', () => {
    const adders = sources
      .map((path) => relative(ROOT, path))
      .filter(
        (path) =>
          !path.startsWith('queue/') &&
          /\.addBulk\(|[qQ]ueues?(\[\w+\])?\.add\(/.test(readFileSync(join(ROOT, path), 'utf8')),
      );
    expect(adders).toEqual([]);
  });

  it('has no drawer for odds and ends', () => {
    expect(readdirSync(ROOT).filter((name) => FORBIDDEN_FOLDERS.includes(name))).toEqual([]);
  });

  it('has no default exports and no file beyond 400 lines', () => {
    const texts = sources.map((path) => [relative(ROOT, path), readFileSync(path, 'utf8')] as const);
    expect(texts.filter(([, text]) => /^export default/m.test(text)).map(([path]) => path)).toEqual([]);
    expect(texts.filter(([, text]) => text.split('\n').length > 400).map(([path]) => path)).toEqual([]);
  });
});
