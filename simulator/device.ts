import { setTimeout as sleep } from 'node:timers/promises';
import { readPlist } from '../mdm/plist/read-plist.ts';
import { Availability } from './availability.ts';
import {
  type CheckIn,
  deviceKeys,
  enrollmentIdOf,
  makeAuthenticate,
  makeCheckIn,
  makeDeviceTokenUpdate,
  makeUserTokenUpdate,
} from './check-in-messages.ts';
import type { Aftermath } from './commands/command-definition.ts';
import { ENROLLMENT_PROFILE } from './commands/profiles.ts';
import type { DeclarativeClient } from './declarations/synchronize-declarations.ts';
import type { DeviceCertificate } from './device-certificate.ts';
import { type DeviceModel, type DeviceUser, drawPushAddress, type PushAddress } from './device-model.ts';
import type { DeviceOptions, Lifecycle } from './device-options.ts';
import { type DeviceState, makeDeviceState } from './device-state.ts';
import { DeviceGone, EnrollmentError } from './enrollment-error.ts';
import type { EnrollmentLedger } from './ledger.ts';
import type { Reply } from './mdm-client.ts';
import { type OpenChannel, openChannel } from './open-channel.ts';
import { Fields, type WritableValue } from './plist-fields.ts';
import type { Random } from './random.ts';
import { readRefusalCode } from './read-refusal.ts';

/** One Mac, iPhone, iPad or Apple TV, as its server sees it (apple-protocols §10). */
export class SimulatedDevice {
  readonly model: DeviceModel;
  readonly availability: Availability;
  readonly #options: DeviceOptions;
  readonly #stopped = new AbortController();
  #state: DeviceState;
  #identity: DeviceCertificate | undefined;
  #lifecycle: Lifecycle = 'new';
  #enrollments = 0;
  #deviceChannel: OpenChannel | undefined;
  #userChannel: OpenChannel | undefined;
  #aftermath: Aftermath | undefined;

  constructor(options: DeviceOptions) {
    this.#options = options;
    this.model = options.model;
    this.availability = new Availability(() => this.#pollAll());
    this.#state = makeDeviceState(options.model, options.random.fork('state'));
  }

  get udid(): string {
    return this.model.udid;
  }

  /** Of the user channel; undefined where the model has no user. */
  get userEnrollmentId(): string | undefined {
    return this.model.user && enrollmentIdOf(this.model, this.model.user);
  }

  /** Of the channels that are open now. */
  get enrollmentIds(): readonly string[] {
    return [this.#deviceChannel, this.#userChannel].flatMap((open) => open?.enrollmentId ?? []);
  }

  get lifecycle(): Lifecycle {
    return this.#lifecycle;
  }

  get state(): Readonly<DeviceState> {
    return this.#state;
  }

  get identity(): DeviceCertificate | undefined {
    return this.#identity;
  }

  get ledger(): EnrollmentLedger {
    return this.#options.ledger.of(this.udid);
  }

  /** The declarations of the device channel, and what the device made of them. */
  get declarations(): DeclarativeClient | undefined {
    return this.#deviceChannel?.declarations;
  }

  /** Where pushes reach the device channel. */
  get push(): PushAddress | undefined {
    return this.#deviceChannel?.push;
  }

  /**
   * Authenticate, TokenUpdate, and where the options say so the bootstrap token and the user channel; also of a device
   * that is enrolled. With the identity that it has, or a new one. Rejects with EnrollmentError or AdminRequestError.
   */
  enroll(): Promise<void> {
    return this.#options.activity.during(async () => {
      this.#abandonChannels('enrolled again');
      this.#identity ??= await this.#obtainIdentity();
      this.#stopped.signal.throwIfAborted();
      const { random, topic, awaitsConfiguration } = this.#options;
      const enrollment = random.fork(`enrollment/${++this.#enrollments}`);
      this.#state = makeDeviceState(this.model, enrollment.fork('state'));
      this.#state.isAwaitingConfiguration = awaitsConfiguration;
      this.#state.deviceProfiles.set(ENROLLMENT_PROFILE.identifier, ENROLLMENT_PROFILE);
      const open = this.#open(undefined, enrollment.fork('device'));
      this.#deviceChannel = open;
      await this.#require(open, makeAuthenticate(this.model, this.#state, topic));
      this.#register(open);
      await this.#require(open, makeDeviceTokenUpdate(this.model, this.#state, topic, open.push));
      this.#lifecycle = 'enrolled';
      this.ledger.add({ kind: 'lifecycle', state: 'enrolled' });
      if (this.model.platform === 'macOS' && this.#options.escrowsBootstrapToken) await this.setBootstrapToken();
      if (this.#options.opensUserChannel && this.model.user !== undefined) await this.enrollUser();
      this.#scheduleOffline();
    });
  }

  /** As after an erasure: with a new identity and new tokens, under the same serial number and UDID. */
  reenroll(): Promise<void> {
    this.#identity = undefined;
    return this.enroll();
  }

  /** Opens the user channel. Rejects with EnrollmentError, also where the model has no user. */
  enrollUser(): Promise<void> {
    return this.#options.activity.during(async () => {
      const { user } = this.model;
      if (user === undefined)
        throw new EnrollmentError(this.udid, 'TokenUpdate', null, ': this model has no user channel');
      this.#userChannel?.channel.close(new DeviceGone('user enrolled again'));
      const open = this.#open(user, this.#options.random.fork(`enrollment/${this.#enrollments}/user`));
      this.#userChannel = open;
      this.#register(open);
      await this.#require(open, makeUserTokenUpdate(open.keys, this.#options.topic, open.push));
    });
  }

  /** Tries to tell the server once, and forgets it. */
  async checkOut(): Promise<void> {
    await this.#deviceChannel?.channel.checkIn(makeCheckIn('CheckOut', deviceKeys(this.model)), 1);
    this.#leave('removed', 'checked out');
  }

  /** One connection of the device channel; resolves when the server had nothing more to say. */
  async poll(): Promise<void> {
    await this.#deviceChannel?.poller.poll();
  }

  async pollUser(): Promise<void> {
    await this.#userChannel?.poller.poll();
  }

  /** Sends TokenUpdate again, with a new token and PushMagic if asked for. Resolves once the server has taken it. */
  async tokenUpdate({ isNewAddress = false }: { readonly isNewAddress?: boolean } = {}): Promise<void> {
    const open = this.#deviceChannel;
    if (open === undefined) return;
    const before = open.push;
    if (isNewAddress) open.push = drawPushAddress(this.#options.random.fork(`push/${before.pushMagic}`));
    this.#register(open);
    await this.#require(open, makeDeviceTokenUpdate(this.model, this.#state, this.#options.topic, open.push));
    if (isNewAddress) this.#options.pushRegistry.unregister(before.tokenHex);
  }

  /** Escrows a token, by default a new one; an empty one makes the server forget it. Rejects with EnrollmentError. */
  async setBootstrapToken(
    token: Buffer = this.#options.random.fork(`bootstrap/${this.#enrollments}`).bytes(32),
  ): Promise<void> {
    const fields = { BootstrapToken: token, AwaitingConfiguration: this.#state.isAwaitingConfiguration };
    await this.checkIn('SetBootstrapToken', fields);
    this.#state.bootstrapToken = token.length === 0 ? undefined : token;
  }

  /** The token that the server keeps, undefined when it has none. Rejects with EnrollmentError. */
  async getBootstrapToken(): Promise<Buffer | undefined> {
    const { body } = await this.checkIn('GetBootstrapToken');
    const read = body.length === 0 ? undefined : readPlist(body);
    return read?.ok === true ? Fields.of(read.value)?.data('BootstrapToken') : undefined;
  }

  /** Any other check-in of the device channel; gives the reply with status 200. Rejects with EnrollmentError. */
  async checkIn(messageType: string, fields: Readonly<Record<string, WritableValue | undefined>> = {}): Promise<Reply> {
    const open = this.#deviceChannel;
    if (open === undefined) throw new EnrollmentError(this.udid, messageType, null, ': not enrolled');
    return this.#require(open, makeCheckIn(messageType, deviceKeys(this.model), fields));
  }

  /** A new key and certificate for the enrollment that there is; everything sent from then on is signed with it. */
  async renewIdentity(): Promise<void> {
    this.#identity = await this.#obtainIdentity();
    this.ledger.add({ kind: 'lifecycle', state: 'identity renewed' });
  }

  /** Ends everything under way; unsent results are lost. */
  stop(): void {
    const reason = new DeviceGone('stopped');
    this.#stopped.abort(reason);
    this.#closeChannels('stopped');
    this.availability.close();
  }

  #obtainIdentity(): Promise<DeviceCertificate> {
    const { keyType, identitySource } = this.#options;
    return identitySource.obtain({ commonName: this.udid, serialNumber: this.model.serialNumber, keyType });
  }

  #open(user: DeviceUser | undefined, random: Random): OpenChannel {
    const { identity } = this;
    if (identity === undefined) throw new EnrollmentError(this.udid, 'Authenticate', null, ': no identity');
    return openChannel({
      ...this.#options,
      state: this.#state,
      user,
      random,
      availability: this.availability,
      identity: () => this.#identity ?? identity,
      onAftermath: (aftermath) => {
        this.#aftermath = aftermath;
      },
      onRefused: (reply) => this.#onRefused(reply),
      onConversed: () => this.#carryOutAftermath(),
    });
  }

  /** Sends a check-in of the enrollment and insists on 200. */
  async #require(open: OpenChannel, checkIn: CheckIn): Promise<Reply> {
    const reply = await open.channel.checkIn(checkIn, this.#options.enrollmentAttempts);
    if (reply?.status === 200) return reply;
    if (reply?.status === 401 || reply?.status === 403) this.#onRefused(reply);
    const detail = reply === undefined ? '' : `: ${reply.body.toString('utf8').trim().slice(0, 200)}`;
    throw new EnrollmentError(this.udid, checkIn.messageType, reply?.status ?? null, detail);
  }

  #register(open: OpenChannel): void {
    const { pushRegistry, topic, ledger } = this.#options;
    const onPush = () => {
      ledger.of(open.enrollmentId).countPush();
      // A device that is away polls when it comes back: APNs keeps the last push for it. One that is still enrolling
      // does not wait: the push may be the only one that tells of the first commands.
      if (!this.availability.isAway) void open.poller.poll();
    };
    pushRegistry.register(open.push.tokenHex, { topic, pushMagic: open.push.pushMagic, onPush });
  }

  #pollAll(): void {
    if (this.#lifecycle !== 'enrolled') return;
    void this.poll();
    void this.pollUser();
  }

  /** 401, and 403 with this code, tell the device to forget the server (apple-protocols §1.1, §1.6). */
  #onRefused(reply: Reply): void {
    const isUnenrolled = reply.status === 401 || readRefusalCode(reply) === 'com.apple.unrecognized.device';
    if (isUnenrolled) this.#leave('removed', `unenrolled by a ${reply.status}`);
  }

  #leave(lifecycle: Lifecycle, reason: string): void {
    this.#lifecycle = lifecycle;
    this.ledger.add({ kind: 'lifecycle', state: lifecycle });
    this.#abandonChannels(reason);
  }

  /** Closes them, and has APNs forget their tokens. */
  #abandonChannels(reason: string): void {
    for (const open of [this.#deviceChannel, this.#userChannel]) {
      if (open !== undefined) this.#options.pushRegistry.unregister(open.push.tokenHex);
    }
    this.#closeChannels(reason);
  }

  #closeChannels(reason: string): void {
    for (const open of [this.#deviceChannel, this.#userChannel]) open?.channel.close(new DeviceGone(reason));
    this.#deviceChannel = undefined;
    this.#userChannel = undefined;
  }

  async #carryOutAftermath(): Promise<void> {
    const aftermath = this.#aftermath;
    this.#aftermath = undefined;
    const { restartMs, shutDownMs } = this.#options.behaviour;
    if (aftermath === 'restart') this.availability.goAway(restartMs);
    if (aftermath === 'shut-down') this.availability.goAway(shutDownMs);
    if (aftermath === 'check-out') await this.checkOut();
    if (aftermath === 'erase') this.#erase();
    if (aftermath === 'renew-identity') await this.#renewAndPoll();
  }

  /** A renewal that fails leaves the device with the identity that it has. */
  async #renewAndPoll(): Promise<void> {
    try {
      await this.renewIdentity();
      this.#pollAll();
    } catch (error) {
      this.ledger.add({ kind: 'lifecycle', state: `identity not renewed: ${error}` });
    }
  }

  #erase(): void {
    this.#leave('erased', 'erased');
    const { setUpAgainAfterMs } = this.#options.behaviour;
    if (setUpAgainAfterMs === null) return;
    void this.#options.activity.during(async () => {
      try {
        await sleep(setUpAgainAfterMs, undefined, { signal: this.#stopped.signal });
        await this.reenroll();
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        this.ledger.add({ kind: 'lifecycle', state: `set up again in vain: ${error}` });
      }
    });
  }

  #scheduleOffline(): void {
    for (const { afterMs, lastsMs } of this.#options.behaviour.offline) {
      const leave = () => this.#stopped.signal.aborted || this.availability.goAway(lastsMs);
      setTimeout(leave, afterMs).unref();
    }
  }
}
