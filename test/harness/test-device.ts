import { randomBytes, randomUUID } from 'node:crypto';
import { type CertificateAuthority, issueDeviceCertificate } from '../../mdm/certificates/certificate-authority.ts';
import { readPlist } from '../../mdm/plist/read-plist.ts';
import { isPlistDict, type PlistDict } from '../../mdm/plist/value.ts';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import type { DeviceCertificate } from '../../simulator/device-certificate.ts';
import { makeCsr, makeKeyPair } from '../../simulator/device-identity.ts';
import { signMdm } from '../../simulator/mdm-signature.ts';
import type { HttpClient, Reply } from './http-client.ts';

export const CHECK_IN_TYPE = 'application/x-apple-aspen-mdm-checkin';
export const REPORT_TYPE = 'application/x-apple-aspen-mdm; charset=UTF-8';
export const TOPIC = 'com.apple.mgmt.External.0e6bdc1c-6a3f-4b1e-9d3e-5a1f5b0f7c11';

export type Ids = Readonly<Record<string, string>>;

interface Target {
  readonly http: HttpClient;
  readonly authority: CertificateAuthority;
}

export interface PutOptions {
  readonly path?: string;
  readonly method?: string;
  /** null: none. */
  readonly contentType?: string | null;
  readonly identity?: DeviceCertificate;
  /** The header itself; null: none. */
  readonly signature?: string | null;
  readonly headers?: Readonly<Record<string, string | string[]>>;
}

/** A certificate of `authority` with a key of its own (P-256: made in a millisecond). */
export async function issueIdentity(
  authority: CertificateAuthority,
  subject: { commonName: string; serialNumber?: string },
  days = 365,
): Promise<DeviceCertificate> {
  const keys = await makeKeyPair('ec');
  const certificate = await issueDeviceCertificate(authority, await makeCsr(keys, subject), { days });
  if (!certificate.ok) throw certificate.error;
  return { privateKey: keys.privateKey, certificateDer: certificate.value };
}

/** One MDM channel that says exactly what a test tells it to. Knows nothing of what a real device would do. */
export class TestDevice {
  readonly ids: Ids;
  identity: DeviceCertificate;
  readonly serialNumber: string;
  readonly pushMagic = randomUUID().toUpperCase();
  readonly token = randomBytes(32);
  readonly #target: Target;

  constructor(target: Target, ids: Ids, identity: DeviceCertificate, serialNumber: string) {
    this.#target = target;
    this.ids = ids;
    this.identity = identity;
    this.serialNumber = serialNumber;
  }

  /** A device nobody has heard of. Its certificate is of the server's own authority and names nothing but `CN=device identity`. */
  static async make(
    target: Target,
    options: { ids?: Ids; identity?: DeviceCertificate; authority?: CertificateAuthority } = {},
  ): Promise<TestDevice> {
    const ids = options.ids ?? { UDID: randomUUID().toUpperCase() };
    const identity =
      options.identity ??
      (await issueIdentity(options.authority ?? target.authority, { commonName: 'device identity' }));
    return new TestDevice(target, ids, identity, `C${randomBytes(5).toString('hex').toUpperCase()}`);
  }

  static async enrolled(...args: Parameters<typeof TestDevice.make>): Promise<TestDevice> {
    const device = await TestDevice.make(...args);
    await device.enroll();
    return device;
  }

  /** Its enrollment id, for devices and users that are not of a Shared iPad. */
  get id(): string {
    const { UDID, UserID, EnrollmentID, EnrollmentUserID } = this.ids;
    const parts = UDID ? [UDID, UserID] : [EnrollmentID, EnrollmentUserID];
    return parts.filter((part) => part !== undefined).join(':');
  }

  /** Another channel with the same certificate. */
  user(ids: Ids): TestDevice {
    return new TestDevice(this.#target, { ...this.ids, ...ids }, this.identity, this.serialNumber);
  }

  /** Puts these bytes. */
  put(body: Uint8Array, options: PutOptions = {}): Promise<Reply> {
    const { path = '/mdm', method = 'PUT', contentType = REPORT_TYPE, headers = {} } = options;
    const signature =
      options.signature === undefined ? signMdm(body, options.identity ?? this.identity) : options.signature;
    return this.#target.http.send(path, {
      method,
      body,
      headers: {
        ...(contentType !== null && { 'Content-Type': contentType }),
        ...(signature !== null && { 'Mdm-Signature': signature }),
        ...headers,
      },
    });
  }

  checkIn(messageType: string, fields: PlistDict = {}, options: PutOptions = {}): Promise<Reply> {
    const body = this.messageOf(messageType, fields);
    return this.put(body, { contentType: CHECK_IN_TYPE, ...options });
  }

  messageOf(messageType: string, fields: PlistDict = {}): Buffer {
    return writePlist({ MessageType: messageType, ...this.ids, ...fields });
  }

  authenticate(fields: PlistDict = {}, options?: PutOptions): Promise<Reply> {
    return this.checkIn('Authenticate', { Topic: TOPIC, SerialNumber: this.serialNumber, ...fields }, options);
  }

  tokenUpdate(fields: PlistDict = {}, options?: PutOptions): Promise<Reply> {
    const push = { Topic: TOPIC, PushMagic: this.pushMagic, Token: this.token };
    return this.checkIn('TokenUpdate', { ...push, ...fields }, options);
  }

  /** Authenticate and TokenUpdate, which must both be accepted. */
  async enroll(): Promise<void> {
    for (const reply of [await this.authenticate(), await this.tokenUpdate()])
      if (reply.status !== 200) throw new Error(`enrolling was answered with ${reply.status}`);
  }

  report(status: string, commandUuid?: string, fields: PlistDict = {}, options?: PutOptions): Promise<Reply> {
    return this.put(this.reportOf(status, commandUuid, fields), options);
  }

  reportOf(status: string, commandUuid?: string, fields: PlistDict = {}): Buffer {
    return writePlist({
      ...this.ids,
      Status: status,
      ...(commandUuid !== undefined && { CommandUUID: commandUuid }),
      ...fields,
    });
  }

  /** Reports and gives the UUID of the command that came back; undefined for none. @throws unless the answer is 200 */
  async next(status = 'Idle', commandUuid?: string): Promise<string | undefined> {
    const reply = await this.report(status, commandUuid);
    if (reply.status !== 200) throw new Error(`${status} ${commandUuid ?? ''} was answered with ${reply.status}`);
    return commandUuidOf(reply);
  }
}

export function commandUuidOf(reply: Reply): string | undefined {
  if (reply.body.length === 0) return undefined;
  const plist = readPlist(reply.body);
  const uuid = plist.ok && isPlistDict(plist.value) ? plist.value.CommandUUID : undefined;
  if (typeof uuid !== 'string') throw new Error('the answer is no command');
  return uuid;
}

/** A command as an admin queues it. */
export const makeCommand = (commandUuid: string, requestType = 'ProfileList', fields: PlistDict = {}): Buffer =>
  writePlist({ CommandUUID: commandUuid, Command: { RequestType: requestType, ...fields } });

/** Queues commands for one or more enrollments, in this order and without a push. @throws unless each is accepted */
export async function enqueue(
  server: { admin(method: string, path: string, body?: Uint8Array): Promise<Reply> },
  devices: TestDevice | readonly TestDevice[],
  ...commands: readonly (string | Buffer)[]
): Promise<void> {
  const ids = [devices].flat().map((device) => encodeURIComponent(device.id));
  for (const command of commands) {
    const body = typeof command === 'string' ? makeCommand(command) : command;
    const reply = await server.admin('PUT', `/v1/enqueue/${ids.join(',')}?nopush=1`, body);
    if (reply.status !== 200) throw new Error(`enqueue was answered with ${reply.status}: ${reply.text}`);
  }
}
