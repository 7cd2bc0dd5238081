import { ProtocolError } from './errors.ts';
import { MessageFields } from './message-fields.ts';
import { readPlist } from './plist/read-plist.ts';
import { isPlistDict } from './plist/value.ts';
import { fail, ok, type Result } from './result.ts';

export const MAX_COMMAND_UUID_LENGTH = 127;
export const MAX_REQUEST_TYPE_LENGTH = 63;
/** What the reference's column holds (nanomdm §4.6). */
export const MAX_COMMAND_BYTES = 16 * 1024 * 1024;

export interface Command {
  readonly commandUuid: string;
  readonly requestType: string;
  /** It installs a profile with an MDM payload: the device will come back with a new identity (nanomdm §9.3). */
  readonly renewsEnrollment: boolean;
}

/** The MDM payload as every writer of profiles spells it; a signed profile carries it in clear as well. */
const MDM_PAYLOAD = '<string>com.apple.mdm</string>';

/** Reads the plist of a command that an admin queues: `{CommandUUID, Command: {RequestType, …}}`. Errors: the plist's own, `command.invalid`. */
export function readCommand(body: Uint8Array): Result<Command> {
  const plist = readPlist(body, { maxBytes: MAX_COMMAND_BYTES });
  if (!plist.ok) return plist;
  try {
    const envelope = MessageFields.of(plist.value);
    const commandUuid = envelope.string('CommandUUID');
    const inner = envelope.dict('Command');
    const requestType = inner && new MessageFields(inner).string('RequestType');
    if (!commandUuid || !requestType) return fail(new ProtocolError('command.invalid', 'invalid command'));
    if (commandUuid.length > MAX_COMMAND_UUID_LENGTH)
      return fail(
        new ProtocolError('command.invalid', `CommandUUID is longer than ${MAX_COMMAND_UUID_LENGTH} characters`),
      );
    if (requestType.length > MAX_REQUEST_TYPE_LENGTH)
      return fail(
        new ProtocolError('command.invalid', `RequestType is longer than ${MAX_REQUEST_TYPE_LENGTH} characters`),
      );
    const payload = isPlistDict(inner) ? inner.Payload : undefined;
    const renewsEnrollment =
      requestType === 'InstallProfile' && Buffer.isBuffer(payload) && payload.includes(MDM_PAYLOAD);
    return ok({ commandUuid, requestType, renewsEnrollment });
  } catch (error) {
    if (error instanceof ProtocolError) return fail(error);
    throw error;
  }
}
