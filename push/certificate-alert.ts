/**
 * Whether a transport error's code is the peer's TLS alert about *our* certificate (expired, revoked, unknown CA, none
 * given), as opposed to network trouble or a fault of the peer's own certificate (`CERT_HAS_EXPIRED`, …).
 * The names are OpenSSL's reason strings as Node spells them, RFC 8446 §6.2: for example
 * `ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED`, `ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED`.
 */
export function isCertificateAlert(code: string): boolean {
  return /^ERR_SSL_.*ALERT_(NO_CERTIFICATE|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_[A-Z]+|UNKNOWN_CA|ACCESS_DENIED)/.test(
    code,
  );
}
