import { LRUCache } from 'lru-cache';
import { ProtocolError } from '../errors.ts';
import { ok, type Result } from '../result.ts';
import { findChain, type Issuer } from './find-chain.ts';
import { type DeviceCertificate, readCertificate } from './read-certificate.ts';
import { readPem } from './read-pem.ts';

export interface DeviceTrustOptions {
  /** The authority whose devices' certificates we issue ourselves; one or more PEM certificates (a rollover). */
  ownCaPem?: string;
  /** PEM bundles of other authorities at which a chain may end. */
  rootsPem?: readonly string[];
  /** PEM bundles of authorities through which a chain may lead. */
  intermediatesPem?: readonly string[];
  /** Days for which an expired device certificate is still taken, so that the device can come back and renew; 0. */
  graceDays?: number;
  now?: () => Date;
}

interface Verdict {
  readonly issuedByOwnCa: boolean;
  readonly checkedAtMs: number;
  readonly validUntilMs: number;
}

const DAY_MS = 86_400_000;
const MAX_VERDICT_AGE_MS = 60_000;

/**
 * Whether a device's certificate comes from an authority the operator named. Chains are built from those bundles only,
 * never from certificates that a request brought along (nanomdm §3.3).
 *
 * A positive verdict is kept for a minute at most and never past the end of any link's validity; refusals are not kept.
 */
export class DeviceTrust {
  readonly #now: () => Date;
  readonly #verdicts: LRUCache<string, Verdict>;
  #issuers: ReadonlyMap<string, readonly Issuer[]>;
  #graceMs: number;

  /** Throws a `certificate.syntax` ProtocolError when a bundle is malformed: a mistake of configuration, found at start. */
  constructor(options: DeviceTrustOptions) {
    this.#now = options.now ?? (() => new Date());
    this.#verdicts = new LRUCache({ max: 16_384 });
    this.#issuers = readIssuers(options);
    this.#graceMs = (options.graceDays ?? 0) * DAY_MS;
  }

  /** Puts other authorities in place and forgets every verdict. Throws like the constructor, then nothing has changed. */
  replace(options: Omit<DeviceTrustOptions, 'now'>): void {
    const issuers = readIssuers(options);
    this.#issuers = issuers;
    this.#graceMs = (options.graceDays ?? 0) * DAY_MS;
    this.#verdicts.clear();
  }

  /** Errors: `certificate.untrusted`, `certificate.expired`, `certificate.usage`. Never throws. */
  check(certificate: DeviceCertificate): Result<{ issuedByOwnCa: boolean }> {
    const now = this.#now();
    const nowMs = now.getTime();
    const known = this.#verdicts.get(certificate.sha256);
    if (known !== undefined && nowMs >= known.checkedAtMs && nowMs <= known.validUntilMs) {
      return ok({ issuedByOwnCa: known.issuedByOwnCa });
    }
    const chain = findChain(certificate, this.#issuers, now, this.#graceMs);
    if (!chain.ok) return chain;
    const [leaf, ...authorities] = chain.value.links.map((link) => link.notAfter.getTime());
    this.#verdicts.set(certificate.sha256, {
      issuedByOwnCa: chain.value.isOwnCa,
      checkedAtMs: nowMs,
      validUntilMs: Math.min(nowMs + MAX_VERDICT_AGE_MS, (leaf ?? 0) + this.#graceMs, ...authorities),
    });
    return ok({ issuedByOwnCa: chain.value.isOwnCa });
  }
}

/** Authorities by the hex of their encoded subject; our own come first, then other anchors. */
function readIssuers(options: Omit<DeviceTrustOptions, 'now'>): ReadonlyMap<string, readonly Issuer[]> {
  const all: Issuer[] = [
    ...readBundle(options.ownCaPem ?? '').map((certificate) => ({ certificate, isAnchor: true, isOwnCa: true })),
    ...(options.rootsPem ?? [])
      .flatMap(readBundle)
      .map((certificate) => ({ certificate, isAnchor: true, isOwnCa: false })),
    ...(options.intermediatesPem ?? [])
      .flatMap(readBundle)
      .map((certificate) => ({ certificate, isAnchor: false, isOwnCa: false })),
  ];
  const byHash = new Map<string, Issuer>();
  for (const issuer of all) {
    if (!byHash.has(issuer.certificate.sha256)) byHash.set(issuer.certificate.sha256, issuer);
  }
  return Map.groupBy(byHash.values(), (issuer) => issuer.certificate.subjectName.toString('hex'));
}

function readBundle(pem: string): DeviceCertificate[] {
  const blocks = readPem(pem);
  if (blocks === undefined) throw new ProtocolError('certificate.syntax', 'a certificate bundle is not PEM');
  if (blocks.length === 0 && pem.trim() !== '') {
    throw new ProtocolError('certificate.syntax', 'a certificate bundle holds no certificate');
  }
  return blocks.map((block) => {
    if (block.label !== 'CERTIFICATE') {
      throw new ProtocolError('certificate.syntax', `a certificate bundle holds a ${block.label}`);
    }
    const read = readCertificate(block.bytes);
    if (!read.ok) throw read.error;
    return read.value;
  });
}
