import { dirname } from 'node:path';
import { startThrowAwayStack } from '../../../stack/throw-away-stack.ts';

// Starts a throw-away stack, tells where it is, and ends when its input ends, without stopping it.
const stack = await startThrowAwayStack();
const dataDir = dirname(dirname(new URL(stack.redisUrl).pathname));
process.stdout.write(`${JSON.stringify({ dataDir, pids: [stack.database?.pid, stack.redis?.pid] })}\n`);
process.stdin.resume().once('end', () => process.exit(0));
