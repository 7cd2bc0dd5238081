import net from 'node:net';
import tls from 'node:tls';

/**
 * What a push certificate's connections share. `caPem` is trusted besides the usual authorities.
 * Throws OpenSSL's error when the certificate or key cannot be read or do not belong together.
 */
export function createSecureContext(material: {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  readonly caPem?: string;
}): tls.SecureContext {
  const { certificatePem, privateKeyPem, caPem } = material;
  return tls.createSecureContext({
    cert: certificatePem,
    key: privateKeyPem,
    minVersion: 'TLSv1.2',
    ...(caPem === undefined ? {} : { ca: [...tls.getCACertificates('default'), caPem] }),
  });
}

/** Starts a TLS connection for HTTP/2 to `url`; its name is resolved anew each time. */
export function connectTls(url: URL, secureContext: tls.SecureContext): tls.TLSSocket {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const socket = tls.connect({
    host,
    port: url.port === '' ? 443 : Number(url.port),
    secureContext,
    ALPNProtocols: ['h2'],
    // An address is no server name (RFC 6066 §3); the certificate is checked against `host` all the same.
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
  });
  // The kernel notices a peer that vanished while the session was idle, between two PINGs an hour apart.
  socket.setKeepAlive(true, 60_000);
  return socket;
}
