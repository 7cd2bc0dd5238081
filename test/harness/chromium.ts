import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { runProgram } from '../../stack/run-program.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];
const ELSEWHERE = ['/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'];
const PACKAGE = 'chromium';

/** As root there is no sandbox; and nothing that talks to the makers of the browser. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

function findChromium(): string | undefined {
  const given = process.env.CHROMIUM;
  if (given !== undefined && given !== '') return given;
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const candidates = [...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))), ...ELSEWHERE];
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Installs Debian's package, as the embedded stack does with its own: as root or with passwordless sudo, and saying so. */
async function installChromium(): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const sudo = isRoot ? '' : 'sudo ';
  const advice = `No Chromium is found. Install it with:\n  ${sudo}apt-get update && ${sudo}apt-get install --no-install-recommends ${PACKAGE}\nor name a Chromium or Chrome in CHROMIUM.`;
  const isDebian = existsSync('/usr/bin/apt-get');
  const maySudo = !isRoot && existsSync('/usr/bin/sudo') && (await runProgram('sudo', ['-n', 'true'])).code === 0;
  if (!isDebian || !(isRoot || maySudo) || process.env.INSTALL_BINARIES === 'no') throw new Error(advice);
  const run = async (...args: string[]) => {
    const line = [...(isRoot ? [] : ['sudo', '-n']), 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get'];
    const [program = '', ...rest] = [...line, '-o', 'DPkg::Lock::Timeout=300', ...args];
    process.stderr.write(`Running: ${[program, ...rest].join(' ')}\n`);
    return runProgram(program, rest, { timeoutMs: 10 * 60_000 });
  };
  // A mirror that is away does not matter when the lists at hand are good enough.
  await run('update', '-qq');
  const installed = await run('install', '--yes', '--no-remove', '--no-install-recommends', PACKAGE);
  if (installed.code !== 0) throw new Error(`${advice}\n${installed.stderr}`);
}

/** A headless Chromium: the machine's own, or Debian's package installed now. @throws saying what to type */
export async function launchChromium(): Promise<Browser> {
  if (findChromium() === undefined) await installChromium();
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error(`the package ${PACKAGE} is installed, but brought no program`);
  return chromium.launch({ executablePath, args: FLAGS, headless: true });
}
