import type { Executor } from '../connection.ts';

/** How long after its answer an enrollment profile that we sent still explains an Authenticate. */
const ANSWERED_WITHIN_HOURS = 1;

/** Whether an enrollment profile was sent to this device as a command, and is unanswered or was answered lately; whether it is enabled; the serial number that it told when it enrolled. */
export async function readRenewalState(
  db: Executor,
  deviceId: number,
): Promise<{ isEnabled: boolean; isRenewalUnderWay: boolean; serialNumber: string | undefined }> {
  const [row] = await db.rows<{ enabled: number; pending: number; answered: number; serialNumber: string | null }>(
    `SELECT e.enabled, h.serial_number AS serialNumber,
       EXISTS (SELECT 1 FROM command_queue q JOIN commands c ON c.id = q.command_id WHERE q.enrollment_id = e.id AND c.renews_enrollment = 1) AS pending,
       EXISTS (SELECT 1 FROM command_results r JOIN commands c ON c.id = r.command_id WHERE r.enrollment_id = e.id AND c.renews_enrollment = 1
         AND r.status = 'Acknowledged' AND r.ended_at > NOW(6) - INTERVAL ${ANSWERED_WITHIN_HOURS} HOUR) AS answered
     FROM enrollments e JOIN hosts h ON h.id = e.host_id WHERE e.id = ?`,
    [deviceId],
  );
  return {
    isEnabled: row?.enabled === 1,
    isRenewalUnderWay: row?.pending === 1 || row?.answered === 1,
    serialNumber: row?.serialNumber ?? undefined,
  };
}
