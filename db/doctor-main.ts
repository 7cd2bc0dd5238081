import { z } from 'zod';
import { INVARIANT_COUNT, runDoctor } from './doctor.ts';
import { outboxDepths } from './outbox.ts';
import { runSmallProgram, say } from './small-program.ts';

const FLAGS = z.object({ JSON: z.literal('1').optional() });

// `npm run doctor [-- --json]`: 0 when all invariants hold, 1 when one is broken, 2 when it could not look.
await runSmallProgram(FLAGS, async (db, flags) => {
  const [findings, depths] = [await runDoctor(db), await outboxDepths(db)];
  const exitCode = findings.length === 0 ? 0 : 1;
  if (flags.JSON !== undefined) {
    say(JSON.stringify({ findings, outbox: depths }, null, 2));
    return exitCode;
  }
  for (const { invariant, meaning, count, examples } of findings) {
    say(`BROKEN  ${invariant}: ${meaning}: ${count} times, such as`);
    for (const example of examples) say(`          ${JSON.stringify(example)}`);
  }
  for (const { kind, owed, failed, oldestSeconds } of depths) {
    const age = oldestSeconds > 0 ? `, the oldest due for ${Number(oldestSeconds).toFixed(1)} s` : '';
    say(`work    ${kind}: ${owed} owed${failed > 0 ? `, ${failed} FAILED` : ''}${age}`);
  }
  say(
    exitCode === 0
      ? `well: all ${INVARIANT_COUNT} invariants hold`
      : `unwell: ${findings.length} of ${INVARIANT_COUNT} invariants are broken`,
  );
  return exitCode;
});
