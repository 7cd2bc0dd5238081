import { type DestinationStream, pino } from 'pino';

/** One log line is one event: `{ event: 'command.acknowledged', … }`. The events are listed in docs/logs.md. */
export interface Log {
  debug(event: string, fields?: Record<string, unknown>): void;
  info(event: string, fields?: Record<string, unknown>): void;
  warn(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
  with(fields: Record<string, unknown>): Log;
}

interface PinoLike {
  debug(fields: object): void;
  info(fields: object): void;
  warn(fields: object): void;
  error(fields: object): void;
  isLevelEnabled(level: string): boolean;
  child(fields: object): PinoLike;
}

function wrap(logger: PinoLike): Log {
  return {
    debug: logger.isLevelEnabled('debug') ? (event, fields) => logger.debug({ event, ...fields }) : () => {},
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
    error: (event, fields) => logger.error({ event, ...fields }),
    with: (fields) => wrap(logger.child(fields)),
  };
}

/** JSON lines on standard output (or `destination`), one per event, with the process's name. */
export function createLog(options: { level: string; name: string; destination?: DestinationStream }): Log {
  const settings = {
    level: options.level,
    base: { process: options.name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    errorKey: 'error',
    serializers: { error: describeError },
  };
  return wrap(options.destination === undefined ? pino(settings) : pino(settings, options.destination));
}

/** What a log shows of an error: never the SQL with its values, which a driver's message may carry. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = 'code' in error ? error.code : undefined;
  return {
    type: error.name,
    message: error.message.slice(0, 500),
    code,
    stack: error.stack?.split('\n').slice(1, 6).join('\n'),
  };
}
