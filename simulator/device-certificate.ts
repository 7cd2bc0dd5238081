import type { KeyObject } from 'node:crypto';

/** The identity with which a device signs: its certificate and the key to it. */
export interface DeviceCertificate {
  readonly privateKey: KeyObject;
  readonly certificateDer: Buffer;
}
