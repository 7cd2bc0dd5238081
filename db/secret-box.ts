import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  type KeyObject,
  randomFillSync,
} from 'node:crypto';
import { DatabaseError } from './errors.ts';

const VERSION = 1;
const HEADER = 1 + 4;
const NONCE = 12;
const TAG = 16;

/** First bytes of a hash of the key: tells which key sealed a value, and nothing else. */
const keyId = (key: Buffer): Buffer =>
  createHash('sha256').update('espalier key id').update(key).digest().subarray(0, 4);

/**
 * Seals values for the database: AES-256-GCM, laid out as version (1), key id (4), nonce (12), ciphertext, tag (16). The context
 * (`table.column`) is authenticated too, so that a sealed value cannot be moved to another column. The first key seals; all open.
 */
export class SecretBox {
  /** As key objects: preparing a plain key takes twice as long as sealing a report with it. */
  readonly #keys: readonly { id: Buffer; key: KeyObject }[];

  readonly #nonces = Buffer.alloc(NONCE * 256);
  #usedNonces = this.#nonces.length;

  constructor(keys: readonly [Buffer, ...Buffer[]]) {
    this.#keys = keys.map((key) => ({ id: keyId(key), key: createSecretKey(key) }));
  }

  /** Random bytes are fetched for many values at once; none is used twice. */
  #nextNonce(): Buffer {
    if (this.#usedNonces === this.#nonces.length) {
      randomFillSync(this.#nonces);
      this.#usedNonces = 0;
    }
    this.#usedNonces += NONCE;
    return this.#nonces.subarray(this.#usedNonces - NONCE, this.#usedNonces);
  }

  seal(context: string, value: Uint8Array): Buffer {
    const [current] = this.#keys;
    if (current === undefined) throw new DatabaseError('database.unsealable', 'no key to seal with');
    const nonce = this.#nextNonce();
    const cipher = createCipheriv('aes-256-gcm', current.key, nonce).setAAD(Buffer.from(context));
    return Buffer.concat([
      Buffer.from([VERSION]),
      current.id,
      nonce,
      cipher.update(value),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
  }

  /** @throws DatabaseError database.unsealable when no key fits or the bytes were changed */
  open(context: string, sealed: Buffer): Buffer {
    const id = sealed.subarray(1, HEADER);
    const found = sealed[0] === VERSION ? this.#keys.find((entry) => entry.id.equals(id)) : undefined;
    if (found === undefined || sealed.length < HEADER + NONCE + TAG)
      throw new DatabaseError('database.unsealable', `${context}: no key for this value`);
    const decipher = createDecipheriv('aes-256-gcm', found.key, sealed.subarray(HEADER, HEADER + NONCE)).setAAD(
      Buffer.from(context),
    );
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG));
    try {
      return Buffer.concat([decipher.update(sealed.subarray(HEADER + NONCE, sealed.length - TAG)), decipher.final()]);
    } catch (cause) {
      throw new DatabaseError('database.unsealable', `${context}: the sealed value was changed`, { cause });
    }
  }

  /** Whether the value was sealed with a former key and should be sealed again. */
  isOutdated(sealed: Buffer): boolean {
    const [current] = this.#keys;
    return current === undefined || !current.id.equals(sealed.subarray(1, HEADER));
  }
}
