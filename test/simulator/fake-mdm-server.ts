import { createServer, type IncomingMessage, type Server } from 'node:http';
import { readPlist } from '../../mdm/plist/read-plist.ts';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import { Fields, toPlistDict, type WritableValue } from '../../simulator/plist-fields.ts';

export interface Heard {
  /** MessageType of a check-in, Status of a report. */
  readonly what: string;
  readonly enrollmentId: string;
  readonly commandUUID: string | undefined;
  readonly fields: Fields;
  readonly body: Buffer;
  readonly contentType: string;
  readonly signature: string | undefined;
}

export interface CannedReply {
  readonly status: number;
  readonly body?: Buffer | string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface AdminCall {
  readonly what: string;
  readonly body: string;
  readonly authorization: string | undefined;
}

type Override = (heard: Heard) => CannedReply | 'hang-up' | undefined;

/** The server's side of the MDM protocol in memory: NanoMDM's queue rules, and replies on demand. It checks no signature. */
export class FakeMdmServer {
  readonly heard: Heard[] = [];
  readonly adminCalls: AdminCall[] = [];
  /** Answers the admin API; by default it is not there. */
  admin: (call: AdminCall) => Promise<CannedReply> = async () => ({ status: 404 });
  /** Asked for every message before it is handled; what it returns is the reply, and nothing is recorded. */
  override: Override = () => undefined;
  readonly #server: Server;
  readonly #queues = new Map<string, { uuid: string; bytes: Buffer; isPostponed: boolean }[]>();
  readonly #bootstrapTokens = new Map<string, Buffer>();

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#reply(request).then((reply) => {
        if (reply === 'hang-up') request.socket.destroy();
        else response.writeHead(reply.status, reply.headers).end(reply.body);
      });
    });
  }

  static async start(): Promise<FakeMdmServer> {
    const fake = new FakeMdmServer();
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return `http://127.0.0.1:${address.port}`;
  }

  /** What was heard of one enrollment, as words. */
  wordsOf(enrollmentId: string): string[] {
    return this.heard
      .filter((heard) => heard.enrollmentId === enrollmentId)
      .map(({ what, commandUUID }) => (commandUUID === undefined ? what : `${what} ${commandUUID}`));
  }

  reportsOf(commandUUID: string): Heard[] {
    return this.heard.filter((heard) => heard.commandUUID === commandUUID);
  }

  enqueue(enrollmentId: string, uuid: string, command: Readonly<Record<string, WritableValue>>): void {
    this.enqueueBytes(enrollmentId, uuid, writePlist(toPlistDict({ CommandUUID: uuid, Command: command })));
  }

  enqueueBytes(enrollmentId: string, uuid: string, bytes: Buffer): void {
    const queue = this.#queues.get(enrollmentId) ?? [];
    queue.push({ uuid, bytes, isPostponed: false });
    this.#queues.set(enrollmentId, queue);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #reply(request: IncomingMessage): Promise<CannedReply | 'hang-up'> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    if (request.url !== '/mdm') return this.#adminCall(request, body);
    const read = readPlist(body);
    const fields = read.ok ? Fields.of(read.value) : undefined;
    if (fields === undefined || request.method !== 'PUT') return { status: 400 };
    const contentType = request.headers['content-type'] ?? '';
    const isCheckIn = contentType.startsWith('application/x-apple-aspen-mdm-checkin');
    const heard: Heard = {
      what: fields.string(isCheckIn ? 'MessageType' : 'Status') ?? '',
      enrollmentId: idOf(fields),
      commandUUID: fields.string('CommandUUID'),
      fields,
      body,
      contentType,
      signature: request.headers['mdm-signature']?.toString(),
    };
    const override = this.override(heard);
    if (override !== undefined) return override;
    this.heard.push(heard);
    return isCheckIn ? this.#checkIn(heard) : this.#nextCommand(heard);
  }

  async #adminCall(request: IncomingMessage, body: Buffer): Promise<CannedReply> {
    const what = `${request.method} ${request.url}`;
    const call = { what, body: body.toString('utf8'), authorization: request.headers.authorization };
    this.adminCalls.push(call);
    return this.admin(call);
  }

  #checkIn({ what, enrollmentId, fields }: Heard): CannedReply {
    if (what === 'SetBootstrapToken')
      this.#bootstrapTokens.set(enrollmentId, fields.data('BootstrapToken') ?? Buffer.of());
    const token = this.#bootstrapTokens.get(enrollmentId);
    const isAsked = what === 'GetBootstrapToken' && token !== undefined;
    return { status: 200, ...(isAsked && { body: writePlist(toPlistDict({ BootstrapToken: token })) }) };
  }

  #nextCommand({ what, enrollmentId, commandUUID }: Heard): CannedReply {
    const queue = this.#queues.get(enrollmentId) ?? [];
    const at = queue.findIndex(({ uuid }) => uuid === commandUUID);
    const found = queue[at];
    if (what === 'NotNow' && found !== undefined) found.isPostponed = true;
    if (what !== 'NotNow' && found !== undefined) queue.splice(at, 1);
    const next = queue.find(({ isPostponed }) => what !== 'NotNow' || !isPostponed);
    return { status: 200, ...(next && { body: next.bytes }) };
  }
}

function idOf(fields: Fields): string {
  const udid = fields.string('UDID') ?? '';
  const userId = fields.string('UserID');
  if (userId === undefined) return udid;
  return `${udid}:${userId.startsWith('FFFFFFFF') ? fields.string('UserShortName') : userId}`;
}
