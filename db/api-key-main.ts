import { z } from 'zod';
import { isDuplicate } from './errors.ts';
import { createApiKey, listApiKeys, ROLES, revokeApiKey } from './queries/api-keys.ts';
import { runSmallProgram, say } from './small-program.ts';

const FLAGS = z.object({
  NAME: z.string().max(127).optional(),
  ROLE: z.enum(ROLES).default('observer'),
  REVOKE: z.string().optional(),
});

// `npm run api-key -- --name ops --role observer` makes a key and shows it once; `-- --revoke ops` ends it; without flags lists them.
await runSmallProgram(FLAGS, async (db, { NAME, ROLE, REVOKE }) => {
  if (REVOKE !== undefined) {
    const isRevoked = await revokeApiKey(db, REVOKE);
    say(isRevoked ? `${REVOKE} is revoked` : `there is no key ${REVOKE} in force`);
    return isRevoked ? 0 : 1;
  }
  if (NAME === undefined) {
    for (const key of await listApiKeys(db))
      say(`${key.name}\t${key.role}\t${key.revokedAt === null ? 'in force' : 'revoked'}`);
    return 0;
  }
  try {
    say(await createApiKey(db, NAME, ROLE));
    return 0;
  } catch (error) {
    if (!isDuplicate(error)) throw error;
    say(`there is a key ${NAME} already`);
    return 1;
  }
});
