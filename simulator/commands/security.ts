import { drawGroupedCode } from '../device-state.ts';
import {
  acknowledge,
  type CommandContext,
  type CommandTable,
  type Response,
  refuse,
  refuseMdm,
} from './command-definition.ts';

/** What SecurityInfo, the lock passwords and the recovery keys answer (apple-protocols §1.14, §10.3). */
export const SECURITY: CommandTable = {
  SecurityInfo: {
    where: 'ismMt',
    run: (context) =>
      acknowledge({
        SecurityInfo: context.model.platform === 'macOS' ? macSecurity(context) : mobileSecurity(context),
      }),
  },
  CertificateList: {
    where: 'ismMt',
    run: ({ model, identityCertificate }) =>
      acknowledge({ CertificateList: [{ CommonName: model.udid, IsIdentity: true, Data: identityCertificate }] }),
  },
  RotateFileVaultKey: {
    where: 'm',
    needs: { KeyType: 'string', FileVaultUnlock: 'dictionary' },
    run: ({ request, state, random }) => {
      const password = request.fields('FileVaultUnlock')?.string('Password');
      if (password === undefined) return refuse('MDMClientError', 70, 'FileVaultUnlock has no Password');
      state.recoveryKey = drawGroupedCode(random, 6, 4);
      // Only the shape: a real Mac encrypts the key to ReplyEncryptionCertificate as a CMS EnvelopedData.
      return acknowledge({ RotateResult: { EncryptedNewRecoveryKey: random.bytes(256) } });
    },
  },
  ActivationLockBypassCode: {
    where: 'im',
    run: ({ state }) =>
      state.activationLockBypassCode === undefined
        ? refuseMdm(12007, 'The activation lock bypass code is no longer available')
        : acknowledge({ ActivationLockBypassCode: state.activationLockBypassCode }),
  },
  ClearActivationLockBypassCode: {
    where: 'im',
    run: ({ state }) => {
      state.activationLockBypassCode = undefined;
      return acknowledge();
    },
  },
  SetFirmwarePassword: {
    where: 'm',
    needs: { NewPassword: 'string' },
    run: ({ request, state }) => {
      const isAllowed = matches(state.firmwarePassword, request.string('CurrentPassword'));
      if (isAllowed) state.firmwarePassword = request.string('NewPassword') || undefined;
      return acknowledge({ SetFirmwarePassword: { PasswordChanged: isAllowed } });
    },
  },
  VerifyFirmwarePassword: {
    where: 'm',
    needs: { Password: 'string' },
    run: ({ request, state }) =>
      acknowledge({
        VerifyFirmwarePassword: { PasswordVerified: state.firmwarePassword === request.string('Password') },
      }),
  },
  SetRecoveryLock: {
    where: 'm',
    needs: { NewPassword: 'string' },
    run: ({ request, state }) => {
      if (!matches(state.recoveryLock, request.string('CurrentPassword'))) {
        return refuse('MDMClientError', 70, 'The current recovery lock password is wrong');
      }
      state.recoveryLock = request.string('NewPassword') || undefined;
      return acknowledge();
    },
  },
  VerifyRecoveryLock: {
    where: 'm',
    needs: { Password: 'string' },
    run: ({ request, state }) => acknowledge({ PasswordVerified: state.recoveryLock === request.string('Password') }),
  },
};

/** Where no password is set, none is asked for. */
function matches(current: string | undefined, given: string | undefined): boolean {
  return current === undefined || current === given;
}

/** FDE keys only after a FileVault payload is there: before it the Mac has no key that it could report. */
function macSecurity({ state }: CommandContext): Response {
  const payloadTypes = [...state.deviceProfiles.values()].flatMap(({ payloads }) => payloads.map(({ type }) => type));
  const isEncrypted = payloadTypes.includes('com.apple.MCX.FileVault2');
  const isEscrowed = isEncrypted && payloadTypes.includes('com.apple.security.FDERecoveryKeyEscrow');
  return {
    FDE_Enabled: isEncrypted,
    FDE_HasPersonalRecoveryKey: isEncrypted,
    FDE_HasInstitutionalRecoveryKey: false,
    FDE_PersonalRecoveryKeyDeviceKey: isEscrowed ? 'SIMULATED' : undefined,
    SystemIntegrityProtectionEnabled: true,
    FirewallSettings: {
      FirewallEnabled: true,
      BlockAllIncoming: false,
      StealthMode: false,
      LoggingEnabled: true,
      LoggingOption: 'throttled',
      Applications: [],
    },
    FirmwarePasswordStatus: {
      PasswordExists: state.firmwarePassword !== undefined,
      ChangePending: false,
      AllowOroms: false,
    },
    ManagementStatus: {
      EnrolledViaDEP: false,
      UserApprovedEnrollment: true,
      IsUserEnrollment: false,
      IsActivationLockManageable: true,
    },
    SecureBoot: { SecureBootLevel: 'full', ExternalBootLevel: 'disallowed', ReducedSecurity: [] },
    RemoteDesktopEnabled: state.isRemoteDesktopEnabled,
    AuthenticatedRootVolumeEnabled: true,
    BootstrapTokenAllowedForAuthentication: 'allowed',
    BootstrapTokenRequiredForSoftwareUpdate: true,
    BootstrapTokenRequiredForKernelExtensionApproval: true,
    IsRecoveryLockEnabled: state.recoveryLock !== undefined,
  };
}

function mobileSecurity({ state }: CommandContext): Response {
  return {
    HardwareEncryptionCaps: 3,
    PasscodePresent: state.hasPasscode,
    PasscodeCompliant: true,
    PasscodeCompliantWithProfiles: true,
    PasscodeLockGracePeriod: 0,
    PasscodeLockGracePeriodEnforced: 0,
    AutoLockTime: 120,
    ManagementStatus: { IsUserEnrollment: false },
  };
}
