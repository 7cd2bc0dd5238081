import type { Executor } from '../connection.ts';
import type { SecretBox } from '../secret-box.ts';

const KEY = 'certificate_authorities.key_sealed';
const NAME = 'device';

export interface StoredAuthority {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** Our own device authority, if it was made already. */
export async function readOwnAuthority(db: Executor, secrets: SecretBox): Promise<StoredAuthority | undefined> {
  const [row] = await db.rows<{ certificatePem: string; keySealed: Buffer }>(
    'SELECT certificate_pem AS certificatePem, key_sealed AS keySealed FROM certificate_authorities WHERE name = ?',
    [NAME],
  );
  return row && { certificatePem: row.certificatePem, privateKeyPem: secrets.open(KEY, row.keySealed).toString() };
}

/** Stores a new authority unless another process was first. @returns the one that counts */
export async function storeOwnAuthority(
  db: Executor,
  secrets: SecretBox,
  authority: StoredAuthority,
): Promise<StoredAuthority> {
  await db.run(
    `INSERT INTO certificate_authorities (name, certificate_pem, key_sealed, created_at) VALUES (?, ?, ?, NOW(6)) ON DUPLICATE KEY UPDATE name = name`,
    [NAME, authority.certificatePem, secrets.seal(KEY, Buffer.from(authority.privateKeyPem))],
  );
  return (await readOwnAuthority(db, secrets)) ?? authority;
}
