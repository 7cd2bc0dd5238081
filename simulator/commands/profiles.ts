import { readPlist } from '../../mdm/plist/read-plist.ts';
import type { InstalledProfile } from '../device-state.ts';
import { Fields } from '../plist-fields.ts';
import {
  type Answer,
  acknowledge,
  type CommandContext,
  type CommandTable,
  type Response,
  refuse,
  refuseMdm,
} from './command-definition.ts';

/** The identifier under which the enrollment itself is installed. */
const ENROLLMENT_PROFILE_IDENTIFIER = 'org.espalier.enrollment';
const MDM_PAYLOAD = 'com.apple.mdm';

/** The profile that every enrolled device has; removing it ends the enrollment. */
export const ENROLLMENT_PROFILE: InstalledProfile = {
  identifier: ENROLLMENT_PROFILE_IDENTIFIER,
  uuid: 'E5A11E12-0000-4000-8000-000000000002',
  displayName: 'Espalier',
  organization: undefined,
  description: undefined,
  isRemovalDisallowed: false,
  isSigned: false,
  isEncrypted: false,
  payloads: [
    {
      type: MDM_PAYLOAD,
      identifier: `${ENROLLMENT_PROFILE_IDENTIFIER}.mdm`,
      uuid: 'E5A11E12-0000-4000-8000-000000000003',
    },
  ],
};

/** Configuration and provisioning profiles, and restrictions (apple-protocols §1.4, §10.3). */
export const PROFILES: CommandTable = {
  InstallProfile: { where: 'isSmMt', needs: { Payload: 'data' }, run: installProfile },
  RemoveProfile: { where: 'isSmMt', needs: { Identifier: 'string' }, run: removeProfile },
  ProfileList: {
    where: 'isSmMt',
    run: (context) =>
      acknowledge({
        ProfileList: [...profilesOf(context).values()].map((profile) => describe(profile, context.place)),
      }),
  },
  InstallProvisioningProfile: {
    where: 'ismt',
    needs: { ProvisioningProfile: 'data' },
    // No error when it is already there (apple-protocols §1.9).
    run: ({ request, state }) => {
      const profile = readProfile(request.data('ProvisioningProfile') ?? Buffer.alloc(0));
      const uuid = profile?.string('UUID');
      if (uuid === undefined)
        return refuse('MCProvisioningErrorDomain', 26000, 'The provisioning profile is not readable');
      state.provisioningProfiles.set(uuid, { name: profile?.string('Name') ?? uuid });
      return acknowledge();
    },
  },
  RemoveProvisioningProfile: {
    where: 'ismt',
    needs: { UUID: 'string' },
    run: ({ request, state }) =>
      state.provisioningProfiles.delete(request.string('UUID') ?? '')
        ? acknowledge()
        : refuseMdm(12014, 'There is no such managed provisioning profile'),
  },
  ProvisioningProfileList: {
    where: 'ismt',
    run: ({ state }) =>
      acknowledge({
        ProvisioningProfileList: [...state.provisioningProfiles].map(([UUID, { name }]) => ({ Name: name, UUID })),
      }),
  },
  Restrictions: {
    // A Mac answers with empty groups (apple-protocols §1.9).
    where: 'isSmt',
    run: ({ place }) => {
      const camera = place === 'm' ? {} : { allowCamera: { value: true } };
      const groups = { restrictedBool: camera, restrictedValue: {}, intersection: {}, union: {} };
      return acknowledge({ GlobalRestrictions: groups, ProfileRestrictions: {} });
    },
  },
};

function profilesOf({ state, place }: CommandContext): Map<string, InstalledProfile> {
  return place === 'M' || place === 'S' ? state.userProfiles : state.deviceProfiles;
}

function installProfile(context: CommandContext): Answer {
  const bytes = context.request.data('Payload') ?? Buffer.alloc(0);
  const read = readProfile(bytes);
  const identifier = read?.string('PayloadIdentifier');
  const uuid = read?.string('PayloadUUID');
  if (read === undefined || identifier === undefined || uuid === undefined) return refuseProfile();
  const payloads = read.list('PayloadContent').map((payload) => ({
    type: payload.string('PayloadType') ?? '',
    identifier: payload.string('PayloadIdentifier') ?? '',
    uuid: payload.string('PayloadUUID') ?? '',
  }));
  const isEnrollment = payloads.some(({ type }) => type === MDM_PAYLOAD);
  if (identifier === ENROLLMENT_PROFILE_IDENTIFIER && !isEnrollment) {
    return refuse('MCInstallationErrorDomain', 4015, 'The replacement has no MDM payload');
  }
  const profiles = profilesOf(context);
  profiles.set(identifier, {
    identifier,
    uuid,
    displayName: read.string('PayloadDisplayName'),
    organization: read.string('PayloadOrganization'),
    description: read.string('PayloadDescription'),
    isRemovalDisallowed: read.boolean('PayloadRemovalDisallowed'),
    isSigned: bytes[0] === 0x30,
    isEncrypted: read.data('EncryptedPayloadContent') !== undefined,
    payloads,
  });
  // An enrollment profile sent again is how a server renews the device's identity (apple-protocols §1.4, §10.5).
  return isEnrollment ? acknowledge({}, 'renew-identity') : acknowledge();
}

function refuseProfile(): Answer {
  return {
    status: 'Error',
    errorChain: [
      { domain: 'MCInstallationErrorDomain', code: 4001, text: 'The profile could not be installed' },
      { domain: 'MCProfileErrorDomain', code: 1000, text: 'The profile is malformed' },
    ],
  };
}

function removeProfile(context: CommandContext): Answer {
  const identifier = context.request.string('Identifier') ?? '';
  const isMac = context.model.platform === 'macOS';
  const profile = profilesOf(context).get(identifier);
  if (profile === undefined) {
    return isMac
      ? refuse('MDMClientError', 89, `Profile with identifier '${identifier}' not found`)
      : refuseMdm(12075, `The profile “${identifier}” is not installed`);
  }
  profilesOf(context).delete(identifier);
  return profile.payloads.some(({ type }) => type === MDM_PAYLOAD) ? acknowledge({}, 'check-out') : acknowledge();
}

/**
 * The dict of a profile. A signed one is a CMS SignedData around the XML: the text is found by its first and last
 * words, which holds as long as the content is one octet string; the signature is not checked here.
 */
function readProfile(bytes: Buffer): Fields | undefined {
  const start = bytes[0] === 0x30 ? bytes.indexOf('<?xml') : 0;
  const end = bytes[0] === 0x30 ? bytes.indexOf('</plist>', start) + '</plist>'.length : bytes.length;
  if (start < 0 || end <= start) return undefined;
  const read = readPlist(bytes.subarray(start, end));
  return read.ok ? Fields.of(read.value) : undefined;
}

function describe(profile: InstalledProfile, place: string): Response {
  return {
    PayloadUUID: profile.uuid,
    PayloadIdentifier: profile.identifier,
    PayloadVersion: 1,
    PayloadDisplayName: profile.displayName,
    PayloadOrganization: profile.organization,
    PayloadDescription: profile.description,
    PayloadRemovalDisallowed: profile.isRemovalDisallowed,
    HasRemovalPasscode: false,
    IsEncrypted: profile.isEncrypted,
    IsManaged: place === 'm' || place === 'M' ? undefined : true,
    PayloadContent: profile.payloads.map(({ type, identifier, uuid }) => ({
      PayloadType: type,
      PayloadVersion: 1,
      PayloadIdentifier: identifier,
      PayloadUUID: uuid,
    })),
  };
}
