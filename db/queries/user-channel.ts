import type { EnrollmentType } from '../../mdm/enrollment-id.ts';
import type { Executor } from '../connection.ts';

export interface UserChannelRow {
  readonly hostId: number;
  readonly enrollmentKey: string;
  readonly enrollmentId: string;
  readonly type: EnrollmentType;
  readonly userShortName: string | undefined;
  readonly userLongName: string | undefined;
}

/** Makes the row of a user channel that has not sent its TokenUpdate yet; one that exists stays as it is. @returns its id */
export async function ensureUserChannel(db: Executor, row: UserChannelRow): Promise<number> {
  await db.run(
    `INSERT INTO enrollments (host_id, enrollment_key, enrollment_id, is_device, type, user_short_name, user_long_name) VALUES (?, ?, ?, 0, ?, ?, ?)
     ON DUPLICATE KEY UPDATE enrollment_key = enrollment_key`,
    [
      row.hostId,
      row.enrollmentKey,
      row.enrollmentId,
      row.type,
      row.userShortName?.slice(0, 255) || null,
      row.userLongName?.slice(0, 255) || null,
    ],
  );
  const [found] = await db.rows<{ id: number }>('SELECT id FROM enrollments WHERE enrollment_key = ?', [
    row.enrollmentKey,
  ]);
  return found?.id ?? 0;
}
