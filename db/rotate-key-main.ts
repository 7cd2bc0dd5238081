import { z } from 'zod';
import { rotateSecrets } from './rotate-secrets.ts';
import { runSmallProgram, say } from './small-program.ts';

// `npm run rotate-key` with SECRET_KEY the new key and SECRET_KEYS_OLD the former ones: seals everything again.
await runSmallProgram(z.object({}), async (db) => {
  const count = await rotateSecrets(db, ({ table, seen, resealed }) =>
    say(`${table}: ${seen} seen, ${resealed} sealed again`),
  );
  say(`${count} values sealed again; SECRET_KEYS_OLD can go once every process runs with the new SECRET_KEY`);
  return 0;
});
