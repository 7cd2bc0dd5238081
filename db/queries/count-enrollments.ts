import type { Executor } from '../connection.ts';

/** Enrollments by type and state, for the metrics. */
export const countEnrollments = (db: Executor): Promise<{ type: string; enabled: number; disabled: number }[]> =>
  db.rows(
    'SELECT type, CAST(SUM(enabled = 1) AS DOUBLE) AS enabled, CAST(SUM(enabled = 0) AS DOUBLE) AS disabled FROM enrollments GROUP BY type',
  );
