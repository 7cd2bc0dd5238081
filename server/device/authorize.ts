import type { Log } from '../../config/log.ts';
import type { Metrics } from '../../config/metrics.ts';
import type { Db } from '../../db/db.ts';
import { associateCertificates, type Channel, readDeviceFacts } from '../../db/queries/channels.ts';
import { readRenewalState } from '../../db/queries/renewals.ts';
import { type AuthenticateDecision, decideAuthenticate, decideMessage } from '../../domain/enrollment/associate.ts';
import { certificateNamesDevice } from '../../mdm/certificates/certificate-names-device.ts';
import type { Authenticate } from '../../mdm/check-in.ts';
import { type EnrollmentId, foldEnrollmentId } from '../../mdm/enrollment-id.ts';
import { ServerError } from '../errors.ts';
import type { DeviceStore } from './device-store.ts';
import type { DeviceIdentity } from './identify-device.ts';

export interface AuthorizeOptions {
  readonly db: Db;
  readonly store: DeviceStore;
  readonly allowRetroactive: boolean;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Who speaks. `channel` is undefined for a user channel that has not been heard before. */
export interface Speaker {
  readonly enrollment: EnrollmentId;
  readonly device: Channel;
  readonly channel: Channel | undefined;
}

/**
 * May this certificate speak for this enrollment? Both answers are cached, so that a device that is known costs no statement.
 * @throws ServerError enrollment.refused or enrollment.unknown (403; never 401, which would unenroll the device)
 */
export async function authorize(
  options: AuthorizeOptions,
  identity: DeviceIdentity | undefined,
  enrollment: EnrollmentId,
): Promise<Speaker> {
  const channelKey = foldEnrollmentId(enrollment.id);
  const deviceKey = enrollment.isDevice ? channelKey : foldEnrollmentId(enrollment.deviceId);
  const keys = enrollment.isDevice ? [deviceKey] : [deviceKey, channelKey];
  const { channels, certificateOf } = await options.store.identify(keys, identity?.certificate.sha256);
  const device = channels.get(deviceKey);
  if (device === undefined) throw refuse(options, enrollment, 'enrollment.unknown', 'device is not enrolled');
  const speaker = { enrollment, device, channel: channels.get(channelKey) };
  if (identity === undefined || certificateOf === device.enrollmentId) return speaker;
  const facts = await readDeviceFacts(options.db, device.enrollmentId);
  const decision = decideMessage(
    {
      device: device.enrollmentId,
      certificateOf,
      deviceHasCertificate: facts.hasCertificate,
      issuedByOwnCa: identity.issuedByOwnCa,
      namesDevice: certificateNamesDevice(identity.certificate, [enrollment.deviceId, facts.serialNumber ?? '']),
    },
    options.allowRetroactive,
  );
  if (decision.outcome === 'refuse') throw refuse(options, enrollment, 'enrollment.refused', decision.reason);
  if (decision.outcome === 'associate') await associate(options, identity, device, decision.because);
  return speaker;
}

async function associate(
  { db, store, log, metrics }: AuthorizeOptions,
  { certificate }: DeviceIdentity,
  device: Channel,
  because: string,
): Promise<void> {
  await associateCertificates(db, [
    {
      sha256: certificate.sha256,
      deviceId: device.enrollmentId,
      certificate: certificate.der,
      notAfter: certificate.notAfter,
    },
  ]);
  // Two devices may have shown one new certificate at the same time: who was written counts.
  const { certificateOf } = await store.identify([], certificate.sha256);
  if (certificateOf !== device.enrollmentId) throw new ServerError('enrollment.refused', 'cert re-use not permitted');
  log.info('certificate.associated', { enrollment: device.enrollmentId, because });
  metrics.countEnrollment(because);
}

const NEVER_ENROLLED = { isEnabled: false, isRenewalUnderWay: false, serialNumber: undefined };

/** What an Authenticate means for its device, see decideAuthenticate. Without a certificate (a migration) it always enrolls. */
export async function decideEnrollment(
  options: AuthorizeOptions,
  identity: DeviceIdentity | undefined,
  message: Authenticate,
): Promise<AuthenticateDecision> {
  if (identity === undefined) return { outcome: 'enroll' };
  const { enrollment } = message;
  const { channels, certificateOf } = await options.store.identify(
    [foldEnrollmentId(enrollment.id)],
    identity.certificate.sha256,
  );
  const device = channels.get(foldEnrollmentId(enrollment.id))?.enrollmentId;
  const state = device === undefined ? NEVER_ENROLLED : await readRenewalState(options.db, device);
  const decision = decideAuthenticate({
    device,
    certificateOf,
    deviceHasCertificate: certificateOf !== undefined,
    issuedByOwnCa: identity.issuedByOwnCa,
    // The serial number on record: the one in the message is the sender's claim, and any device's certificate names that device.
    namesDevice: certificateNamesDevice(identity.certificate, [enrollment.deviceId, state.serialNumber ?? '']),
    isAwaitingConfiguration: message.isAwaitingConfiguration,
    ...state,
  });
  if (decision.outcome === 'refuse') throw refuse(options, enrollment, 'enrollment.refused', decision.reason);
  return decision;
}

function refuse(
  { log, metrics }: AuthorizeOptions,
  enrollment: EnrollmentId,
  code: 'enrollment.refused' | 'enrollment.unknown',
  reason: string,
): ServerError {
  log.warn('enrollment.refused', { enrollmentId: enrollment.id, reason });
  metrics.countEnrollment('refused');
  return new ServerError(code, reason);
}
