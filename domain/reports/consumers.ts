/** Who commands come from; a report is routed by it without searching. */
export const ORIGINS = ['api', 'activity', 'profile', 'declaration', 'workflow', 'inventory'] as const;
export type Origin = (typeof ORIGINS)[number];

/** What a report feeds, whoever asked for it. */
export type Consumer = 'inventory';

/** Requests whose answers describe the host. */
const INVENTORY: ReadonlySet<string> = new Set(['DeviceInformation']);

/**
 * Who wants the result of a command. A report that nobody wants owes no work.
 * @param requestType of the command that was answered
 */
export const consumersOf = (requestType: string): readonly Consumer[] =>
  INVENTORY.has(requestType) ? ['inventory'] : [];
