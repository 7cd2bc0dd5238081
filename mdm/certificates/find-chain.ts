/** From a device's certificate to an authority the operator trusts (RFC 5280 §6.1, the parts that apply here). */
import { OID } from '../cms/oids.ts';
import { ProtocolError } from '../errors.ts';
import { fail, ok, type Result } from '../result.ts';
import type { DeviceCertificate } from './read-certificate.ts';

export interface Issuer {
  readonly certificate: DeviceCertificate;
  /** Whether a chain may end here. */
  readonly isAnchor: boolean;
  readonly isOwnCa: boolean;
}

export interface Chain {
  /** Leaf first, anchor last. */
  readonly links: readonly DeviceCertificate[];
  readonly isOwnCa: boolean;
}

/** Longest chain, leaf and anchor included. */
const MAX_LINKS = 8;
/** Most signatures checked for one certificate: bundles may hold many authorities of the same name. */
const MAX_CHECKS = 64;

/** What may sign certificates, and the kind of key it takes. SHA-1 and MD5 are not here: collisions can be forged. */
const SIGNATURE_KEYS: ReadonlyMap<string, string> = new Map([
  [OID.sha256WithRsa, 'rsa'],
  [OID.sha384WithRsa, 'rsa'],
  [OID.sha512WithRsa, 'rsa'],
  [OID.ecdsaWithSha256, 'ec'],
  [OID.ecdsaWithSha384, 'ec'],
  [OID.ecdsaWithSha512, 'ec'],
  [OID.ed25519, 'ed25519'],
]);

/**
 * Finds a chain through `issuers` (by hex of their encoded subject), valid at `now`, whose every link permits client
 * authentication. The leaf may be expired for up to `graceMs`.
 * Errors: `certificate.untrusted` (no chain), `certificate.expired`, `certificate.usage` (a chain, but not a usable one).
 */
export function findChain(
  leaf: DeviceCertificate,
  issuers: ReadonlyMap<string, readonly Issuer[]>,
  now: Date,
  graceMs: number,
): Result<Chain> {
  let checksLeft = MAX_CHECKS;
  let refusal: ProtocolError | undefined;

  const search = (links: readonly DeviceCertificate[]): Chain | undefined => {
    const last = links.at(-1);
    for (const issuer of issuers.get(last?.issuerName.toString('hex') ?? '') ?? []) {
      if (last === undefined || links.length >= MAX_LINKS || checksLeft <= 0) return undefined;
      if (links.some((link) => link.sha256 === issuer.certificate.sha256)) continue;
      if (!mayIssue(issuer.certificate, links)) continue;
      checksLeft -= 1;
      if (!isIssuedBy(last, issuer.certificate)) continue;
      const longer = [...links, issuer.certificate];
      if (!issuer.isAnchor) {
        const found = search(longer);
        if (found !== undefined) return found;
        continue;
      }
      const complaint = complaintAbout(longer, now, graceMs);
      if (complaint === undefined) return { links: longer, isOwnCa: issuer.isOwnCa };
      refusal = complaint;
    }
    return undefined;
  };

  const chain = search([leaf]);
  if (chain !== undefined) return ok(chain);
  const untrusted = 'the certificate does not chain to a trusted authority';
  return fail(refusal ?? new ProtocolError('certificate.untrusted', untrusted));
}

/** Whether an authority may have the chain so far below it. */
function mayIssue(authority: DeviceCertificate, below: readonly DeviceCertificate[]): boolean {
  const { isCa, pathLength = MAX_LINKS, maySignCertificates = true } = authority.extensions;
  return isCa && maySignCertificates && pathLength >= below.length - 1;
}

function isIssuedBy(certificate: DeviceCertificate, authority: DeviceCertificate): boolean {
  const keyKind = SIGNATURE_KEYS.get(certificate.signatureAlgorithm);
  const authorityKind = authority.keyType === 'other' ? authority.publicKey.asymmetricKeyType : authority.keyType;
  if (keyKind === undefined || keyKind !== authorityKind) return false;
  if (authorityKind !== 'ed25519' && authority.keyType === 'other') return false;
  try {
    return (
      certificate.certificate.checkIssued(authority.certificate) && certificate.certificate.verify(authority.publicKey)
    );
  } catch {
    return false;
  }
}

/** What is wrong with a chain whose names and signatures fit. */
function complaintAbout(links: readonly DeviceCertificate[], now: Date, graceMs: number): ProtocolError | undefined {
  for (const [index, link] of links.entries()) {
    const subject = index === 0 ? 'the certificate' : 'an authority of the certificate';
    if (link.extensions.hasUnknownCritical) {
      return new ProtocolError('certificate.untrusted', `${subject} has a critical extension that is not understood`);
    }
    if (now < link.notBefore) return new ProtocolError('certificate.expired', `${subject} is not valid yet`);
    const end = link.notAfter.getTime() + (index === 0 ? graceMs : 0);
    if (now.getTime() > end) return new ProtocolError('certificate.expired', `${subject} has expired`);
    // An authority restricted to other usages restricts what is below it: the common reading, NanoMDM's too.
    if (!permitsClientAuth(link)) {
      return new ProtocolError('certificate.usage', `${subject} is not for client authentication`);
    }
  }
  return undefined;
}

function permitsClientAuth({ ekus }: DeviceCertificate): boolean {
  return ekus === null || ekus.includes(OID.clientAuth) || ekus.includes(OID.anyExtendedKeyUsage);
}
