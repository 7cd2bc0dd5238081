/**
 * Our plist reader and writer against the npm package `plist`, on one thread: `node bench/plist.ts`.
 * Absolute figures depend on the machine; the ratio is what counts. Both sides take turns, and the best turn is shown,
 * so that a disturbance by another process spoils neither.
 */
import { build, parse } from 'plist';
import { readPlist } from '../mdm/plist/read-plist.ts';
import { writePlist } from '../mdm/plist/write-plist.ts';
import { AUTHENTICATE, DEVICE_INFORMATION, installedApplicationList, TOKEN_UPDATE } from '../test/mdm/plist/samples.ts';

const ROUNDS = 5;
const TURN_MS = 150;

/** Runs `act` for a turn's time; operations per second. */
function measure(act: () => unknown): number {
  const start = performance.now();
  let count = 0;
  let elapsed = 0;
  do {
    act();
    count += 1;
    elapsed = performance.now() - start;
  } while (elapsed < TURN_MS);
  return (count / elapsed) * 1000;
}

function compare(name: string, ours: () => unknown, theirs: () => unknown): void {
  let ourBest = 0;
  let theirBest = 0;
  measure(ours);
  measure(theirs);
  for (let round = 0; round < ROUNDS; round += 1) {
    ourBest = Math.max(ourBest, measure(ours));
    theirBest = Math.max(theirBest, measure(theirs));
  }
  const figure = (value: number): string => Math.round(value).toLocaleString('en').padStart(9);
  const microseconds = (1e6 / ourBest).toFixed(1).padStart(8);
  console.log(
    `${name.padEnd(40)} ${figure(ourBest)}/s (${microseconds} µs) ${figure(theirBest)}/s ${(ourBest / theirBest).toFixed(1).padStart(7)} ×`,
  );
}

const samples: [string, Buffer][] = [
  ['Authenticate', AUTHENTICATE],
  ['TokenUpdate', TOKEN_UPDATE],
  ['DeviceInformation', DEVICE_INFORMATION],
  ['InstalledApplicationList', installedApplicationList(520)],
];

console.log(`${''.padEnd(40)}      ours                        plist     ratio`);
for (const [name, bytes] of samples) {
  const title = `${name} ${(bytes.length / 1024).toFixed(1)} KB`;
  const read = readPlist(bytes);
  if (!read.ok) throw read.error;
  // plist 5 reads XML from strings only; decoding is a part of reading.
  compare(
    `read  ${title}`,
    () => readPlist(bytes),
    () => parse(bytes.toString('utf8')),
  );
  const theirs = parse(bytes.toString('utf8'));
  compare(
    `write ${title}`,
    () => writePlist(read.value),
    () => Buffer.from(build(theirs)),
  );
}
