import { type EnrollmentId, type Identifiers, resolveEnrollmentId } from './enrollment-id.ts';
import { ProtocolError } from './errors.ts';
import { MessageFields } from './message-fields.ts';
import { readPlist } from './plist/read-plist.ts';
import type { PlistDict } from './plist/value.ts';
import { fail, ok, type Result } from './result.ts';

interface Common {
  readonly enrollment: EnrollmentId;
  readonly identifiers: Identifiers;
}

/** What a device says of itself; each may be missing. */
export interface DeviceDescription {
  readonly serialNumber: string | undefined;
  readonly deviceName: string | undefined;
  readonly model: string | undefined;
  readonly modelName: string | undefined;
  readonly productName: string | undefined;
  readonly osVersion: string | undefined;
  readonly buildVersion: string | undefined;
}

export interface Authenticate extends Common {
  readonly messageType: 'Authenticate';
  readonly topic: string | undefined;
  readonly device: DeviceDescription;
  /** The device sits in Setup Assistant: a real enrollment, never a renewal. */
  readonly isAwaitingConfiguration: boolean;
}

export interface TokenUpdate extends Common {
  readonly messageType: 'TokenUpdate';
  readonly topic: string;
  readonly pushMagic: string;
  readonly token: Buffer;
  readonly unlockToken: Buffer | undefined;
  readonly isAwaitingConfiguration: boolean;
}

export interface CheckOut extends Common {
  readonly messageType: 'CheckOut';
}

export interface UserAuthenticate extends Common {
  readonly messageType: 'UserAuthenticate';
  readonly digestResponse: string | undefined;
}

export interface SetBootstrapToken extends Common {
  readonly messageType: 'SetBootstrapToken';
  /** Missing or empty: the stored token is forgotten. */
  readonly bootstrapToken: Buffer | undefined;
}

export interface GetBootstrapToken extends Common {
  readonly messageType: 'GetBootstrapToken';
}

export interface DeclarativeManagement extends Common {
  readonly messageType: 'DeclarativeManagement';
  readonly endpoint: string;
  readonly data: Buffer | undefined;
}

export interface GetToken extends Common {
  readonly messageType: 'GetToken';
  readonly tokenServiceType: string;
  readonly tokenParameters: PlistDict | undefined;
}

export type CheckIn =
  | Authenticate
  | TokenUpdate
  | CheckOut
  | UserAuthenticate
  | SetBootstrapToken
  | GetBootstrapToken
  | DeclarativeManagement
  | GetToken;

export type MessageType = CheckIn['messageType'];

type Reader = (fields: MessageFields, common: Common) => CheckIn;

/** A required key: Apple's devices always send it, so a message without it is not one. */
function required<T extends string | Buffer>(value: T | undefined, key: string): T {
  if (value === undefined || value.length === 0) throw new ProtocolError('message.field', `${key} is missing`);
  return value;
}

const READERS: Readonly<Record<MessageType, Reader>> = {
  Authenticate: (fields, common) => ({
    messageType: 'Authenticate',
    ...common,
    topic: fields.string('Topic'),
    device: {
      serialNumber: fields.string('SerialNumber'),
      deviceName: fields.string('DeviceName'),
      model: fields.string('Model'),
      modelName: fields.string('ModelName'),
      productName: fields.string('ProductName'),
      osVersion: fields.string('OSVersion'),
      buildVersion: fields.string('BuildVersion'),
    },
    isAwaitingConfiguration: fields.boolean('AwaitingConfiguration') ?? false,
  }),
  TokenUpdate: (fields, common) => ({
    messageType: 'TokenUpdate',
    ...common,
    topic: required(fields.string('Topic'), 'Topic'),
    pushMagic: required(fields.string('PushMagic'), 'PushMagic'),
    token: required(fields.data('Token'), 'Token'),
    unlockToken: fields.data('UnlockToken'),
    isAwaitingConfiguration: fields.boolean('AwaitingConfiguration') ?? false,
  }),
  CheckOut: (_fields, common) => ({ messageType: 'CheckOut', ...common }),
  UserAuthenticate: (fields, common) => ({
    messageType: 'UserAuthenticate',
    ...common,
    digestResponse: fields.string('DigestResponse') || undefined,
  }),
  SetBootstrapToken: (fields, common) => {
    const token = fields.data('BootstrapToken');
    return { messageType: 'SetBootstrapToken', ...common, bootstrapToken: token?.length === 0 ? undefined : token };
  },
  GetBootstrapToken: (_fields, common) => ({ messageType: 'GetBootstrapToken', ...common }),
  DeclarativeManagement: (fields, common) => ({
    messageType: 'DeclarativeManagement',
    ...common,
    endpoint: fields.string('Endpoint') ?? '',
    data: fields.data('Data'),
  }),
  GetToken: (fields, common) => {
    const tokenServiceType = required(fields.string('TokenServiceType'), 'TokenServiceType');
    const tokenParameters = fields.dict('TokenParameters');
    if (tokenServiceType === 'com.apple.watch.pairing' && tokenParameters === undefined) {
      throw new ProtocolError('message.field', 'com.apple.watch.pairing needs TokenParameters');
    }
    return { messageType: 'GetToken', ...common, tokenServiceType, tokenParameters };
  },
};

const isMessageType = (text: string | undefined): text is MessageType =>
  text !== undefined && Object.hasOwn(READERS, text);

/**
 * Reads a check-in message: XML or binary plist → typed message (nanomdm §1, apple-protocols §1.5).
 * Errors: the plist's own, `message.type` for an unknown MessageType, `message.field`, `message.identity`.
 */
export function readCheckIn(body: Uint8Array): Result<CheckIn> {
  const plist = readPlist(body);
  if (!plist.ok) return plist;
  try {
    const fields = MessageFields.of(plist.value);
    const messageType = fields.string('MessageType');
    if (!isMessageType(messageType)) return fail(new ProtocolError('message.type', 'unrecognized message type'));
    const identifiers = fields.identifiers();
    const enrollment = resolveEnrollmentId(identifiers);
    if (!enrollment.ok) return enrollment;
    return ok(READERS[messageType](fields, { enrollment: enrollment.value, identifiers }));
  } catch (error) {
    if (error instanceof ProtocolError) return fail(error);
    throw error;
  }
}
