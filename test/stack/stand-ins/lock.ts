import { lockDataFolder } from '../../../stack/lock-data-folder.ts';
import { StackError } from '../../../stack/stack-error.ts';

// Tries for a lock, says how it went, and keeps it until its input ends.
try {
  lockDataFolder(process.argv[2] ?? '');
  process.stdout.write('locked\n');
} catch (error) {
  process.stdout.write(`${error instanceof StackError ? error.code : String(error)}\n`);
}
process.stdin.resume();
