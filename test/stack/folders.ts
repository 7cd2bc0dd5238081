import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { waitUntil } from '../../stack/stop-process.ts';

/** A maker of empty folders that are gone after each test. */
export function temporaryFolders(): () => string {
  const made: string[] = [];
  afterEach(() => {
    for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  return () => {
    const folder = mkdtempSync(join(tmpdir(), 'espalier-test-'));
    made.push(folder);
    return folder;
  };
}

/** Waits for a condition and says what was awaited when it does not come true. */
export async function eventually(what: string, isSo: () => boolean, withinMs = 30_000): Promise<void> {
  if (!(await waitUntil(isSo, withinMs))) throw new Error(`not within ${withinMs} ms: ${what}`);
}
