import type { Log } from '../../config/log.ts';
import type { Metrics } from '../../config/metrics.ts';
import type { Db } from '../../db/db.ts';
import {
  forgetDeviceSecret,
  readDeviceSecret,
  storeDeviceSecrets,
  upsertCheckIns,
} from '../../db/queries/check-ins.ts';
import { disableHost } from '../../db/queries/disable-host.ts';
import { upsertLastSeen } from '../../db/queries/last-seen.ts';
import { CertificateTaken } from '../../db/queries/record-authenticates.ts';
import { ensureUserChannel } from '../../db/queries/user-channel.ts';
import { transaction } from '../../db/transaction.ts';
import type {
  Authenticate,
  CheckIn,
  CheckOut,
  GetBootstrapToken,
  SetBootstrapToken,
  TokenUpdate,
  UserAuthenticate,
} from '../../mdm/check-in.ts';
import { foldEnrollmentId } from '../../mdm/enrollment-id.ts';
import { ProtocolError } from '../../mdm/errors.ts';
import { writePlist } from '../../mdm/plist/write-plist.ts';
import { ServerError } from '../errors.ts';
import { type Answer, NOTHING } from './answer.ts';
import { type AuthorizeOptions, authorize, decideEnrollment, type Speaker } from './authorize.ts';
import type { DeviceStore } from './device-store.ts';
import type { GetTokenHandler } from './get-token.ts';
import type { DeviceIdentity } from './identify-device.ts';
import type { LastSeen } from './last-seen.ts';
import type { ManagementProxy } from './management-proxy.ts';

export interface CheckInOptions extends AuthorizeOptions {
  readonly db: Db;
  readonly store: DeviceStore;
  readonly lastSeen: LastSeen;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly userAuthenticate: 'gone' | 'zero-length';
  readonly managementProxy: ManagementProxy | undefined;
  readonly getToken: GetTokenHandler;
}

/** Records a check-in and gives the answer (nanomdm §1.3). `identity` is undefined for a migration, whose sender is an admin. */
export async function handleCheckIn(
  options: CheckInOptions,
  identity: DeviceIdentity | undefined,
  message: CheckIn,
  body: Buffer,
): Promise<Answer> {
  if (message.messageType === 'Authenticate') return handleAuthenticate(options, identity, message, body);
  const speaker = await authorize(options, identity, message.enrollment);
  switch (message.messageType) {
    case 'TokenUpdate':
      return handleTokenUpdate(options, speaker, message, body);
    case 'CheckOut':
      return handleCheckOut(options, speaker, message);
    case 'UserAuthenticate':
      return handleUserAuthenticate(options, speaker, message, body);
    case 'SetBootstrapToken':
      return setBootstrapToken(options, speaker, message);
    case 'GetBootstrapToken':
      return getBootstrapToken(options, speaker, message);
    case 'DeclarativeManagement':
      if (options.managementProxy === undefined)
        throw new ServerError('management.unconfigured', 'no Declarative Management handler');
      return options.managementProxy.forward(message);
    case 'GetToken':
      return { body: writePlist({ TokenData: options.getToken(message) }) };
  }
}

async function handleAuthenticate(
  options: CheckInOptions,
  identity: DeviceIdentity | undefined,
  message: Authenticate,
  body: Buffer,
): Promise<Answer> {
  const { enrollment } = message;
  if (!enrollment.isDevice)
    throw new ProtocolError('message.identity', 'Authenticate is a message of the device channel');
  const decision = await decideEnrollment(options, identity, message);
  const certificate = identity && {
    sha256: identity.certificate.sha256,
    der: identity.certificate.der,
    notAfter: identity.certificate.notAfter,
  };
  try {
    await options.store.recordAuthenticate({
      enrollmentKey: foldEnrollmentId(enrollment.id),
      enrollmentId: enrollment.id,
      type: enrollment.type,
      udid: message.identifiers.UDID || undefined,
      device: message.device,
      isRenewal: decision.outcome === 'renew',
      certificate,
      body,
    });
  } catch (error) {
    if (error instanceof CertificateTaken) throw new ServerError('enrollment.refused', error.message);
    throw error;
  }
  options.log.info(decision.outcome === 'renew' ? 'enrollment.renewed' : 'enrollment.authenticated', {
    enrollmentId: enrollment.id,
    type: enrollment.type,
  });
  options.metrics.countEnrollment(decision.outcome === 'renew' ? 'renewal' : 'authenticate');
  return NOTHING;
}

async function handleTokenUpdate(
  options: CheckInOptions,
  { device, channel }: Speaker,
  message: TokenUpdate,
  body: Buffer,
): Promise<Answer> {
  const { enrollment, identifiers } = message;
  const isStorable = message.topic.length <= 255 && message.pushMagic.length <= 127 && message.token.length <= 255;
  if (!isStorable) throw new ProtocolError('message.field', 'Topic, PushMagic or Token is too long');
  // A topic is ASCII: it comes from a certificate's UID.
  if (/[^\x20-\x7e]/.test(message.topic)) throw new ProtocolError('message.field', 'Topic is not ASCII');
  await options.store.recordTokenUpdate({
    channelId: channel?.enrollmentId,
    hostId: device.hostId,
    enrollmentKey: foldEnrollmentId(enrollment.id),
    enrollmentId: enrollment.id,
    isDevice: enrollment.isDevice,
    type: enrollment.type,
    userShortName: identifiers.UserShortName,
    userLongName: identifiers.UserLongName,
    topic: message.topic,
    pushMagic: message.pushMagic,
    token: message.token,
    unlockToken: message.unlockToken,
    isAwaitingConfiguration: message.isAwaitingConfiguration,
    body,
  });
  options.log.info('enrollment.token-updated', { enrollmentId: enrollment.id, type: enrollment.type });
  options.metrics.countEnrollment('token-update');
  return NOTHING;
}

async function handleCheckOut(options: CheckInOptions, { device }: Speaker, { enrollment }: CheckOut): Promise<Answer> {
  if (!enrollment.isDevice) throw new ProtocolError('message.identity', 'can only disable a device channel');
  await transaction(options.db, async (t) => {
    await disableHost(t, device.hostId);
    await upsertLastSeen(t, [device.enrollmentId]);
  });
  options.log.info('enrollment.checked-out', { enrollmentId: enrollment.id });
  options.metrics.countEnrollment('check-out');
  return NOTHING;
}

/** Exactly as the reference writes it: 234 bytes, indented, no newline at the end. */
const ZERO_LENGTH_CHALLENGE = writePlist({ DigestChallenge: '' }, { indent: true, finalNewline: false });

async function handleUserAuthenticate(
  options: CheckInOptions,
  { device }: Speaker,
  message: UserAuthenticate,
  body: Buffer,
): Promise<Answer> {
  const isSecond = message.digestResponse !== undefined;
  if (options.userAuthenticate === 'gone') {
    if (isSecond) return NOTHING;
    throw new ServerError('user.unmanaged', 'users are not managed for this login');
  }
  const { enrollment, identifiers } = message;
  const channel = enrollment.isDevice
    ? device.enrollmentId
    : await ensureUserChannel(options.db, {
        hostId: device.hostId,
        enrollmentKey: foldEnrollmentId(enrollment.id),
        enrollmentId: enrollment.id,
        type: enrollment.type,
        userShortName: identifiers.UserShortName,
        userLongName: identifiers.UserLongName,
      });
  await upsertCheckIns(options.db, options.db.secrets, [
    { enrollmentId: channel, messageType: isSecond ? 'UserAuthenticateDigest' : 'UserAuthenticate', body },
  ]);
  options.lastSeen.add(channel);
  return isSecond ? NOTHING : { body: ZERO_LENGTH_CHALLENGE };
}

/** A user channel has no bootstrap token; its message stores nothing (nanomdm §1.3). */
async function setBootstrapToken(
  { db, lastSeen }: CheckInOptions,
  { device, enrollment }: Speaker,
  message: SetBootstrapToken,
): Promise<Answer> {
  if (!enrollment.isDevice) return NOTHING;
  const { bootstrapToken } = message;
  if (bootstrapToken === undefined) await forgetDeviceSecret(db, device.enrollmentId, 'bootstrap_token');
  else
    await storeDeviceSecrets(db, db.secrets, [
      { enrollmentId: device.enrollmentId, name: 'bootstrap_token', value: bootstrapToken },
    ]);
  lastSeen.add(device.enrollmentId);
  return NOTHING;
}

async function getBootstrapToken(
  { db, lastSeen }: CheckInOptions,
  { device, enrollment }: Speaker,
  _message: GetBootstrapToken,
): Promise<Answer> {
  const token = enrollment.isDevice
    ? await readDeviceSecret(db, db.secrets, device.enrollmentId, 'bootstrap_token')
    : undefined;
  if (token === undefined) return NOTHING;
  lastSeen.add(device.enrollmentId);
  return { body: writePlist({ BootstrapToken: token }, { indent: false, finalNewline: true }) };
}
