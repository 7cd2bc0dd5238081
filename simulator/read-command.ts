import { readPlist } from '../mdm/plist/read-plist.ts';
import { Fields } from './plist-fields.ts';

export type ReadCommand =
  | { readonly kind: 'none' }
  | { readonly kind: 'command'; readonly commandUUID: string; readonly requestType: string; readonly command: Fields }
  /** It has a CommandUUID but nothing that could be carried out: the answer is CommandFormatError. */
  | { readonly kind: 'malformed'; readonly commandUUID: string }
  /** Nothing that could be answered. An empty dict is such a reply: "nothing to do" is an empty body. */
  | { readonly kind: 'unreadable'; readonly reason: string };

/** Takes apart the body of a 200 reply to a report (apple-protocols §1.1, §1.7). */
export function readCommand(body: Buffer): ReadCommand {
  if (body.length === 0) return { kind: 'none' };
  const read = readPlist(body);
  if (!read.ok) return { kind: 'unreadable', reason: read.error.message };
  const envelope = Fields.of(read.value);
  const commandUUID = envelope?.string('CommandUUID');
  if (commandUUID === undefined) return { kind: 'unreadable', reason: 'no CommandUUID' };
  const command = envelope?.fields('Command');
  const requestType = command?.string('RequestType');
  if (command === undefined || requestType === undefined) return { kind: 'malformed', commandUUID };
  return { kind: 'command', commandUUID, requestType, command };
}
