import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { findByArguments, identify, isAlive } from '../../stack/process-identity.ts';
import { signal, stopProcess } from '../../stack/stop-process.ts';

const started: ReturnType<typeof spawn>[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

/** A process that waits, with arguments of our choice; `code` runs in it first. */
async function startNode(args: readonly string[], code = ''): Promise<number> {
  const script = `${code};setInterval(() => undefined, 60_000);console.log('up')`;
  const child = spawn(process.execPath, ['-e', script, '--', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  started.push(child);
  await once(child.stdout, 'data');
  return child.pid ?? 0;
}

test('finds a process by arguments that stand side by side, wherever they stand', async () => {
  const folder = `/tmp/some folder ${process.pid}`;
  const pid = await startNode(['--first', '--dir', folder, '--last']);
  expect(findByArguments(['--dir', folder]).map((found) => found.pid)).toEqual([pid]);
  expect(findByArguments([folder]).map((found) => found.pid)).toEqual([pid]);
});

test('does not find a process of a folder whose name only begins alike', async () => {
  const folder = `/tmp/begins-alike-${process.pid}`;
  await startNode([`--datadir=${folder}-2`, '--dir', `${folder}/below`]);
  expect(findByArguments([`--datadir=${folder}`])).toEqual([]);
  expect(findByArguments(['--dir', folder])).toEqual([]);
});

test('nothing sought finds nobody, not even processes with an empty argument', async () => {
  await startNode(['', '']);
  expect(findByArguments([])).toEqual([]);
  expect(findByArguments([''])).toEqual([]);
});

test('another process under the same number is not the one that was noted', async () => {
  const pid = await startNode([]);
  const identity = identify(pid);
  if (identity === undefined) throw new Error('it runs');
  expect(isAlive(identity)).toBe(true);
  const earlier = { ...identity, startedAs: `${identity.startedAs}0` };
  expect(isAlive(earlier)).toBe(false);
  signal(earlier, 'SIGKILL');
  await stopProcess(earlier, 0);
  expect(isAlive(identity)).toBe(true);
});

test('a process that ignores SIGTERM is killed', async () => {
  const identity = identify(await startNode([], "process.on('SIGTERM', () => undefined)"));
  if (identity === undefined) throw new Error('it runs');
  await stopProcess(identity, 100);
  expect(isAlive(identity)).toBe(false);
});
