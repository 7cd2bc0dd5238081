/** A topic's push certificate. Another `version`, `url` or `caPem` means another connection. */
export interface PushCertificate {
  readonly topic: string;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  readonly version: number | string;
  readonly url?: string;
  readonly caPem?: string;
}

export type CertificateFor = (topic: string) => Promise<PushCertificate | undefined>;

/** Topics come from devices: more than this at a time is not a fleet but an attack on memory. */
const MOST_TOPICS = 1000;

/**
 * `certificateFor`, asked at most once per topic and `ttlMs`; callers at the same time share one question.
 * A failure is not kept.
 */
export function cacheCertificates(certificateFor: CertificateFor, ttlMs: number, now: () => number): CertificateFor {
  const cached = new Map<
    string,
    { readonly until: number; readonly certificate: Promise<PushCertificate | undefined> }
  >();
  return (topic) => {
    const known = cached.get(topic);
    if (known !== undefined && known.until > now()) {
      return known.certificate;
    }
    if (cached.size >= MOST_TOPICS) {
      cached.clear();
    }
    const entry = { until: now() + ttlMs, certificate: ask(certificateFor, topic) };
    cached.set(topic, entry);
    entry.certificate.catch(() => {
      if (cached.get(topic) === entry) {
        cached.delete(topic);
      }
    });
    return entry.certificate;
  };
}

/** A throw becomes a rejection. */
async function ask(certificateFor: CertificateFor, topic: string): Promise<PushCertificate | undefined> {
  return certificateFor(topic);
}
