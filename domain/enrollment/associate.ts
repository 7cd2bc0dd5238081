/** What is known about a certificate and the device that a message claims to come from. Ids are of device channels. */
export interface AssociationFacts {
  /** The device, undefined when it has never authenticated. */
  readonly device: number | undefined;
  /** Whose certificate this is already. */
  readonly certificateOf: number | undefined;
  /** The device has an association with some certificate. */
  readonly deviceHasCertificate: boolean;
  readonly issuedByOwnCa: boolean;
  /** The certificate carries the device's UDID, enrollment id or serial number (certificateNamesDevice). */
  readonly namesDevice: boolean;
}

export type Refusal = 'cert re-use not permitted' | 'enrollment not associated with cert' | 'device is not enrolled';

export type MessageDecision =
  | { readonly outcome: 'known' }
  /** Bind the certificate to the device: it was renewed, or is met for the first time. */
  | { readonly outcome: 'associate'; readonly because: 'renewal' | 'retroactive' }
  | { readonly outcome: 'refuse'; readonly reason: Refusal };

/**
 * May this certificate speak for this device? (nanomdm §3.4, DESIGN §7.) A certificate belongs to one device for ever. A new one is taken as a renewal
 * when our own authority issued it and it names the device: whoever can get such a certificate could enroll as the device anyway.
 */
export function decideMessage(facts: AssociationFacts, allowRetroactive: boolean): MessageDecision {
  const { device, certificateOf, deviceHasCertificate } = facts;
  if (device === undefined) return { outcome: 'refuse', reason: 'device is not enrolled' };
  if (certificateOf === device) return { outcome: 'known' };
  if (certificateOf !== undefined) return { outcome: 'refuse', reason: 'cert re-use not permitted' };
  if (facts.issuedByOwnCa && facts.namesDevice) return { outcome: 'associate', because: 'renewal' };
  if (!allowRetroactive) return { outcome: 'refuse', reason: 'enrollment not associated with cert' };
  if (deviceHasCertificate) return { outcome: 'refuse', reason: 'cert re-use not permitted' };
  return { outcome: 'associate', because: 'retroactive' };
}

export interface AuthenticateFacts extends AssociationFacts {
  readonly isEnabled: boolean;
  /** An enrollment profile was sent to this device as a command, and is unanswered or was answered lately. */
  readonly isRenewalUnderWay: boolean;
  readonly isAwaitingConfiguration: boolean;
}

export type AuthenticateDecision =
  | { readonly outcome: 'enroll' }
  | { readonly outcome: 'renew' }
  | { readonly outcome: 'refuse'; readonly reason: Refusal };

/**
 * What an Authenticate means. It begins an enrollment and wipes what the former one left (nanomdm §1.3), except when the device comes back with the new
 * identity of an enrollment profile that we sent it (nanomdm §9.3): then queue, bootstrap token and enrollment stay. A device in Setup Assistant was
 * erased, whatever was under way before.
 */
export function decideAuthenticate(facts: AuthenticateFacts): AuthenticateDecision {
  const { device, certificateOf } = facts;
  if (certificateOf !== undefined && certificateOf !== device)
    return { outcome: 'refuse', reason: 'cert re-use not permitted' };
  const isRenewal =
    device !== undefined &&
    facts.isEnabled &&
    facts.isRenewalUnderWay &&
    !facts.isAwaitingConfiguration &&
    facts.issuedByOwnCa &&
    facts.namesDevice;
  return { outcome: isRenewal ? 'renew' : 'enroll' };
}
