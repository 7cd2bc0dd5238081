import type { DeviceModel } from '../device-model.ts';
import type { DeviceState } from '../device-state.ts';
import type { Fields, WritableValue } from '../plist-fields.ts';
import type { Random } from '../random.ts';

/**
 * Where a command is known, one letter each (apple-protocols §1.10): `i` iPhone and iPad, `s` Shared iPad, `S` its
 * user channel, `m` Mac, `M` its user channel, `t` Apple TV.
 */
export type Place = 'i' | 's' | 'S' | 'm' | 'M' | 't';

/** What the device does once the server has taken the answer. */
export type Aftermath = 'erase' | 'restart' | 'shut-down' | 'check-out' | 'renew-identity' | 'synchronize-declarations';

export interface ErrorItem {
  readonly domain: string;
  readonly code: number;
  readonly text: string;
}

/** The answer to a command: what stands beside Status and CommandUUID in the report. */
export type Answer =
  | { readonly status: 'Acknowledged'; readonly response: Response; readonly aftermath: Aftermath | undefined }
  | { readonly status: 'Error' | 'CommandFormatError'; readonly errorChain: readonly ErrorItem[] };

export type Response = Readonly<Record<string, WritableValue | undefined>>;

export interface CommandContext {
  /** The `Command` dictionary. */
  readonly request: Fields;
  readonly place: Place;
  readonly model: DeviceModel;
  readonly state: DeviceState;
  readonly random: Random;
  /** The device's clock, which may be wrong. */
  readonly now: Date;
  readonly identityCertificate: Buffer;
  readonly tokenHex: string;
}

export type FieldType = 'string' | 'data' | 'integer' | 'array' | 'dictionary';

export interface CommandDefinition {
  /** The letters of all places that know the command, e.g. `imt`. */
  readonly where: string;
  /** Request keys without which the answer is CommandFormatError. */
  readonly needs?: Readonly<Record<string, FieldType>>;
  readonly run: (context: CommandContext) => Answer;
}

export type CommandTable = Readonly<Record<string, CommandDefinition>>;

export function acknowledge(response: Response = {}, aftermath?: Aftermath): Answer {
  return { status: 'Acknowledged', response, aftermath };
}

export function refuse(domain: string, code: number, text: string): Answer {
  return { status: 'Error', errorChain: [{ domain, code, text }] };
}

/** Most refusals of the MDM client itself; the codes are listed in apple-protocols §1.7. */
export function refuseMdm(code: number, text: string): Answer {
  return refuse('MCMDMErrorDomain', code, text);
}

export function malformed(text: string): Answer {
  return { status: 'CommandFormatError', errorChain: [{ domain: 'MCMDMErrorDomain', code: 12008, text }] };
}

/** A command that does nothing that can be seen from outside. */
export const acknowledgeOnly = (): Answer => acknowledge();
