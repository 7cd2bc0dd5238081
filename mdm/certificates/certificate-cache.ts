import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { ok, type Result } from '../result.ts';
import { type DeviceCertificate, readCertificate } from './read-certificate.ts';

/**
 * Parsed certificates by the SHA-256 of their DER. A pure cache of parsing: it holds certificates that nobody trusts
 * too, and says nothing about signatures or validity. An entry takes about 10 KB, most of it outside the V8 heap.
 */
export class CertificateCache {
  readonly #parsed: LRUCache<string, DeviceCertificate>;

  constructor(options: { max?: number } = {}) {
    this.#parsed = new LRUCache({ max: options.max ?? 8192 });
  }

  get size(): number {
    return this.#parsed.size;
  }

  /** Parses a DER certificate, or finds it parsed. Errors: `certificate.syntax`, `der.limit`; they are not cached. */
  read(der: Uint8Array): Result<DeviceCertificate> {
    const sha256 = hash('sha256', der);
    const known = this.#parsed.get(sha256);
    if (known !== undefined) return ok(known);
    const read = readCertificate(der);
    if (read.ok) this.#parsed.set(sha256, read.value);
    return read;
  }
}
