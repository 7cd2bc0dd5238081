import { ENVIRONMENT, readVariables } from '../config/env.ts';
import { createLog } from '../config/log.ts';
import { migrate } from './migrate.ts';

const environment = readVariables(ENVIRONMENT.pick({ DATABASE_URL: true, LOG_LEVEL: true }), process.argv.slice(2));
const log = createLog({ level: environment.LOG_LEVEL, name: 'migrate' });
log.info('database.migrated', { applied: await migrate(environment.DATABASE_URL) });
