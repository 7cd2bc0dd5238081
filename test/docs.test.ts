import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ENVIRONMENT } from '../config/env.ts';
import { DATABASE_ERRORS } from '../db/errors.ts';
import { PROTOCOL_ERRORS } from '../mdm/errors.ts';
import { SERVER_ERRORS } from '../server/errors.ts';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const SOURCES = ['config', 'db', 'domain', 'mdm', 'push', 'queue', 'server', 'simulator', 'stack', 'workers', 'bench'];

const sourcesIn = (folders: readonly string[]): string[] =>
  folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.m?ts$/.test(name))
      .map((name) => read(join(folder, name))),
  );

interface TableRow {
  /** The names in backticks of the first cell. */
  readonly names: readonly string[];
  /** The cells after the first. */
  readonly cells: readonly string[];
}

/** A page, or only what is below one of its headings up to the next one of the same or a higher level. */
function section(page: string, heading?: string): string {
  const text = read(page);
  if (heading === undefined) return text;
  const [, after] = text.split(`\n${heading}\n`);
  if (after === undefined) throw new Error(`${page} has no heading ${heading}`);
  return after.split(new RegExp(`^#{1,${heading.indexOf(' ')}} `, 'm'))[0] ?? '';
}

/** The rows of all its tables whose first cell is a name. */
const tableRows = (page: string, heading?: string): TableRow[] =>
  section(page, heading)
    .split('\n')
    .filter((line) => /^\| \[?`/.test(line))
    .map((line) => {
      const [first = '', ...cells] = line.slice(1, -1).split('|');
      return {
        names: [...first.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''),
        cells: cells.map((cell) => cell.trim()),
      };
    });

const namesOf = (rows: readonly TableRow[]): string[] => rows.flatMap((row) => row.names).sort();
const rowOf = (rows: readonly TableRow[], name: string): TableRow | undefined =>
  rows.find((row) => row.names.includes(name));

/** The text of a call's first argument, from the parenthesis on. */
function firstArgument(source: string, start: number): string {
  let depth = 0;
  for (let at = start; at < source.length; at++) {
    const character = source[at] ?? '';
    if ('([{'.includes(character)) depth++;
    else if (')]}'.includes(character)) depth--;
    if (depth < 0 || (depth === 0 && character === ',')) return source.slice(start, at);
  }
  return source.slice(start);
}

interface LoggedEvent {
  readonly event: string;
  /** Undefined where the code chooses it. */
  readonly level: string | undefined;
}

function loggedEvents(): LoggedEvent[] {
  return sourcesIn(['server', 'workers', 'queue', 'push', 'db', 'config']).flatMap((source) =>
    [...source.matchAll(/\blog(?:\(\))?\??(?:\.(debug|info|warn|error)|\[[^\]]+\])\(/g)].flatMap((call) =>
      [...firstArgument(source, call.index + call[0].length).matchAll(/'([a-z][a-z-]*\.[a-z-]+)'/g)].map((match) => ({
        event: match[1] ?? '',
        level: call[1],
      })),
    ),
  );
}

describe('docs/configuration.md', () => {
  const rows = tableRows('docs/configuration.md', '## Variables');

  it('has a row for every variable, and for no other', () => {
    expect(namesOf(rows)).toEqual(Object.keys(ENVIRONMENT.shape).sort());
  });

  it('gives their defaults', () => {
    const given = { DATABASE_URL: 'x', REDIS_URL: 'x', SECRET_KEY: '0'.repeat(64), API_KEY: 'x' };
    for (const [name, value] of Object.entries(ENVIRONMENT.parse(given))) {
      if (name in given || value === '' || (typeof value !== 'string' && typeof value !== 'number')) continue;
      expect(rowOf(rows, name)?.cells[0], name).toBe(`\`${value}\``);
    }
  });

  it('names the environment variables that only the embedded stack reads', () => {
    const named = sourcesIn(['stack']).flatMap(
      (source) => source.match(/\b(?:TEST_MYSQLD|MYSQLD|REDIS_SERVER|INSTALL_BINARIES)\b/g) ?? [],
    );
    const documented = namesOf(tableRows('docs/configuration.md', '## Finding programs'));
    expect(new Set(named).size).toBe(4);
    for (const name of named) expect(documented).toContain(name);
  });
});

describe('docs/logs.md', () => {
  const rows = tableRows('docs/logs.md');

  it('lists every event that the code logs, and no other', () => {
    const events = new Set(loggedEvents().map(({ event }) => event));
    expect(events.size).toBeGreaterThan(20);
    expect(namesOf(rows.map((row) => ({ ...row, names: row.names.slice(0, 1) })))).toEqual([...events].sort());
  });

  it('gives their levels', () => {
    for (const { event, level } of loggedEvents()) {
      if (level !== undefined) expect(rowOf(rows, event)?.cells[0], event).toBe(level);
    }
  });
});

describe('docs/errors.md', () => {
  it.each([
    ['## Bytes from outside', PROTOCOL_ERRORS],
    ['## The server', SERVER_ERRORS],
  ] as const)('%s: every code with its status', (heading, catalogue) => {
    const rows = tableRows('docs/errors.md', heading);
    expect(namesOf(rows)).toEqual(Object.keys(catalogue).sort());
    for (const [code, status] of Object.entries(catalogue)) {
      expect(rowOf(rows, code)?.cells[0]?.split(/[, ]/)[0], code).toBe(String(status));
    }
  });

  it('every code of the database', () => {
    expect(namesOf(tableRows('docs/errors.md', '## The database'))).toEqual(Object.keys(DATABASE_ERRORS).sort());
  });

  it('every code of the embedded stack', () => {
    const union = /type StackErrorCode =([^;]+);/.exec(read('stack/stack-error.ts'))?.[1] ?? '';
    const codes = [...union.matchAll(/'([^']+)'/g)].map((match) => match[1] ?? '');
    expect(codes.length).toBeGreaterThan(0);
    expect(namesOf(tableRows('docs/errors.md', '## `npm start`'))).toEqual(codes.sort());
  });
});

const PACKAGE = z.object({
  scripts: z.record(z.string(), z.string()),
  dependencies: z.record(z.string(), z.string()),
  devDependencies: z.record(z.string(), z.string()),
  optionalDependencies: z.record(z.string(), z.string()),
});
const manifest = PACKAGE.parse(JSON.parse(read('package.json')));

describe('docs/dependencies.md', () => {
  it.each([
    ['## Needed to run', manifest.dependencies],
    ['## Needed to work on it', manifest.devDependencies],
    ['## Node itself', manifest.optionalDependencies],
  ] as const)('%s: a row for each package, and for no other', (heading, packages) => {
    const rows = tableRows('docs/dependencies.md', heading);
    expect(namesOf(rows)).toEqual(Object.keys(packages).sort());
    for (const row of rows)
      expect(
        row.cells.filter((cell) => cell !== ''),
        row.names.join(),
      ).toHaveLength(3);
  });

  it('what it calls not used yet is not used', () => {
    const sources = sourcesIn(SOURCES);
    for (const { names, cells } of tableRows('docs/dependencies.md')) {
      if (!(cells[0] ?? '').includes('not used yet')) continue;
      for (const name of names)
        expect(
          sources.filter((source) => source.includes(`'${name}'`)),
          name,
        ).toEqual([]);
    }
  });
});

describe('docs/operations.md and docs/api.md', () => {
  it('name every metric', () => {
    const metrics = [...read('config/metrics.ts').matchAll(/name: '(espalier_\w+)'/g)].map((match) => match[1] ?? '');
    expect(metrics.length).toBeGreaterThan(0);
    expect(namesOf(tableRows('docs/operations.md', '## Metrics')).filter((name) => metrics.includes(name))).toEqual(
      metrics.sort(),
    );
  });

  it('name every route of the application', () => {
    const routes = [...read('server/app.ts').matchAll(/app\.(?:all|get|put|post|delete)\(\s*'([^']+)'/g)].map((match) =>
      (match[1] ?? '').replace('*ids', '{ids}').replace(/:(\w+)/, '{$1}'),
    );
    expect(routes.length).toBeGreaterThan(5);
    const documented = namesOf(tableRows('docs/api.md')).concat('/v1/enqueue/', '/v1/push/');
    expect(routes.filter((route) => !documented.includes(route))).toEqual([]);
  });
});

const pages = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => join('docs', name))].filter((page) =>
  page.endsWith('.md'),
);

/** As GitHub names the headings of a page. */
const anchorsOf = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

describe.each(pages)('%s', (page) => {
  const text = read(page);

  it('links to what is there', () => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
    for (const link of links.filter((target) => !/^[a-z]+:/.test(target))) {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? page : join(dirname(page), path);
      expect(existsSync(join(ROOT, target)), link).toBe(true);
      if (anchor !== undefined && target.endsWith('.md')) expect(anchorsOf(target), link).toContain(anchor);
    }
  });

  it('names npm scripts that exist', () => {
    for (const match of text.matchAll(/npm run (?:-s )?([a-z][a-z-]*)/g)) {
      expect(Object.keys(manifest.scripts)).toContain(match[1]);
    }
    if (text.includes('npm start')) expect(manifest.scripts).toHaveProperty('start');
  });
});

it('the README names all tests that prove its promises, each once', () => {
  const links = [...read('README.md').matchAll(/\]\((test\/[^)]+)\)/g)].map((match) => match[1] ?? '');
  expect(links.length).toBeGreaterThan(10);
  expect(new Set(links).size).toBe(links.length);
});
