/**
 * Every kind of work that can be owed. A kind is the queue's name, the worker's file, the metric label and the log
 * field; it never changes once released. `workers/registry.ts` must have a job for each: the compiler checks.
 */
export const JOB_KINDS = ['maintenance.repush', 'push.send', 'report.process'] as const;

export type JobKind = (typeof JOB_KINDS)[number];

/** Kinds that re-arm themselves under this one key; the worker owes them at boot. */
export const PERIODIC_KINDS = ['maintenance.repush'] as const satisfies readonly JobKind[];
export const PERIODIC_KEY = 'tick';
