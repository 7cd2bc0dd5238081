import { ProtocolError } from './errors.ts';
import { fail, ok, type Result } from './result.ts';

export type EnrollmentType = 'Device' | 'User' | 'User Enrollment (Device)' | 'User Enrollment' | 'Shared iPad';

/** The identifier keys of a check-in or report, as the device sent them. */
export interface Identifiers {
  readonly UDID?: string | undefined;
  readonly UserID?: string | undefined;
  readonly UserShortName?: string | undefined;
  readonly UserLongName?: string | undefined;
  readonly EnrollmentID?: string | undefined;
  readonly EnrollmentUserID?: string | undefined;
}

/** One MDM channel, named (nanomdm §1.2). */
export interface EnrollmentId {
  /** The enrollment id: what the admin API calls it. */
  readonly id: string;
  readonly type: EnrollmentType;
  /** The device channel's id; equals `id` for a device channel. */
  readonly deviceId: string;
  readonly isDevice: boolean;
}

/** Shared iPads send this UserID for every user; the short name tells them apart. */
const SHARED_IPAD_USER_ID = 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF';
export const MAX_ENROLLMENT_ID_LENGTH = 255;

/**
 * Resolves identifiers to an enrollment id; UDID wins over EnrollmentID. Error `message.identity` when there is none, or one that cannot be stored or that
 * could be taken for another: too long; with control characters, or blanks at an end (the database's collation is PAD SPACE, and HTTP headers are trimmed on
 * their way to a Declarative Management server); or a device's with a colon, which would be some user's channel of another device.
 */
export function resolveEnrollmentId(identifiers: Identifiers): Result<EnrollmentId> {
  const resolved = resolve(identifiers);
  if (resolved === undefined) return fail(new ProtocolError('message.identity', 'neither UDID nor EnrollmentID'));
  if (resolved.id.length > MAX_ENROLLMENT_ID_LENGTH)
    return fail(new ProtocolError('message.identity', 'enrollment id longer than 255 characters'));
  if (resolved.id.startsWith(' ') || resolved.id.endsWith(' ') || resolved.deviceId.endsWith(' '))
    return fail(new ProtocolError('message.identity', 'enrollment id begins or ends with a blank'));
  if (/\p{Cc}/u.test(resolved.id))
    return fail(new ProtocolError('message.identity', 'enrollment id with a control character'));
  if (resolved.deviceId.includes(':'))
    return fail(new ProtocolError('message.identity', 'id of a device with a colon'));
  return ok(resolved);
}

function resolve({
  UDID,
  UserID,
  UserShortName = '',
  EnrollmentID,
  EnrollmentUserID,
}: Identifiers): EnrollmentId | undefined {
  if (UDID) {
    if (!UserID) return device(UDID, 'Device');
    return UserID === SHARED_IPAD_USER_ID ? user(UDID, UserShortName, 'Shared iPad') : user(UDID, UserID, 'User');
  }
  if (!EnrollmentID) return undefined;
  return EnrollmentUserID
    ? user(EnrollmentID, EnrollmentUserID, 'User Enrollment')
    : device(EnrollmentID, 'User Enrollment (Device)');
}

const device = (id: string, type: EnrollmentType): EnrollmentId => ({ id, type, deviceId: id, isDevice: true });

const user = (deviceId: string, userPart: string, type: EnrollmentType): EnrollmentId => ({
  id: `${deviceId}:${userPart}`,
  type,
  deviceId,
  isDevice: false,
});

/**
 * The form in which ids are compared: ASCII letters folded. The reference's database compares ids without case (nanomdm §10 #103); folding only
 * ASCII keeps it from confusing user names that differ in accents.
 */
export const foldEnrollmentId = (id: string): string =>
  /^[\0-\x7f]*$/.test(id) ? id.toLowerCase() : id.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
