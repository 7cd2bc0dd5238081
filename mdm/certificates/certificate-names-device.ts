import type { DeviceCertificate } from './read-certificate.ts';

/**
 * Whether a certificate names one of these identifiers (UDID, serial number, enrollment id): as the whole value of the
 * subject's common name, serial number, user id or an organizational unit, of a DNS name or e-mail address, or as the
 * last part of a URI (`urn:…:<id>`, `…/<id>`). Upper and lower case are alike. Never a part of a longer word: serial
 * numbers are short. What it says is worth what the issuer checked; ask it of certificates of our own authority.
 */
export function certificateNamesDevice(certificate: DeviceCertificate, identifiers: readonly string[]): boolean {
  const { subject, alternativeNames } = certificate;
  const names = [
    subject.commonName,
    subject.serialNumber,
    subject.userId,
    ...subject.organizationalUnits,
    ...alternativeNames.dnsNames,
    ...alternativeNames.emails,
    ...alternativeNames.uris.map((uri) => uri.split(/[/:]/).at(-1)),
  ].map((name) => name?.toLowerCase());
  return identifiers.some((identifier) => identifier !== '' && names.includes(identifier.toLowerCase()));
}
