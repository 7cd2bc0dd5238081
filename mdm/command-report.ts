import { type EnrollmentId, type Identifiers, resolveEnrollmentId } from './enrollment-id.ts';
import { ProtocolError } from './errors.ts';
import { MessageFields } from './message-fields.ts';
import { readPlist } from './plist/read-plist.ts';
import type { PlistDict } from './plist/value.ts';
import { fail, ok, type Result } from './result.ts';

/** Status texts are free (nanomdm §2.1); this is what can be stored. */
const MAX_STATUS_LENGTH = 31;

export interface CommandReport {
  readonly enrollment: EnrollmentId;
  readonly identifiers: Identifiers;
  /** `Idle`, `Acknowledged`, `Error`, `CommandFormatError`, `NotNow`, or whatever a device may say. */
  readonly status: string;
  readonly commandUuid: string | undefined;
  readonly errorChain: readonly PlistDict[];
}

/** The device asks for work. */
export const isIdle = (status: string): boolean => status === 'Idle';
/** The device will answer this command later. */
export const isNotNow = (status: string): boolean => status === 'NotNow';
/** The device has ended this command: everything but Idle and NotNow. */
export const isFinal = (status: string): boolean => !isIdle(status) && !isNotNow(status);

/** Reads a command report (nanomdm §2.1). Errors: the plist's own, `message.field`, `message.identity`. */
export function readCommandReport(body: Uint8Array): Result<CommandReport> {
  const plist = readPlist(body);
  if (!plist.ok) return plist;
  try {
    const fields = MessageFields.of(plist.value);
    const status = fields.string('Status');
    if (!status) return fail(new ProtocolError('message.field', 'Status is missing'));
    if (status.length > MAX_STATUS_LENGTH)
      return fail(new ProtocolError('message.field', `Status is longer than ${MAX_STATUS_LENGTH} characters`));
    const errorChain = fields.dicts('ErrorChain') ?? [];
    const commandUuid = fields.string('CommandUUID') || undefined;
    const identifiers = fields.identifiers();
    const enrollment = resolveEnrollmentId(identifiers);
    if (!enrollment.ok) return enrollment;
    return ok({ enrollment: enrollment.value, identifiers, status, commandUuid, errorChain });
  } catch (error) {
    if (error instanceof ProtocolError) return fail(error);
    throw error;
  }
}
