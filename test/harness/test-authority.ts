import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type CertificateAuthority, createCertificateAuthority } from '../../mdm/certificates/certificate-authority.ts';

export interface ForeignAuthority {
  readonly authority: CertificateAuthority;
  /** Its certificate in PEM, for CA_FILE. */
  readonly file: string;
}

/** A folder of this test file, removed at its end. */
export function useTestFolder(): { readonly path: string; write(name: string, content: string | Buffer): string } {
  const path = mkdtempSync(join(tmpdir(), 'espalier-test-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    write(name, content) {
      writeFileSync(join(path, name), content);
      return join(path, name);
    },
  };
}

/** Another authority than the server's own, which an operator may name in CA_FILE. */
export function useForeignAuthority(): ForeignAuthority {
  const folder = useTestFolder();
  let made: ForeignAuthority | undefined;
  const get = (): ForeignAuthority => {
    if (made === undefined) throw new Error('the foreign authority is there from beforeAll on');
    return made;
  };
  beforeAll(async () => {
    const authority = await createCertificateAuthority({ commonName: 'A foreign CA', years: 2 });
    made = { authority, file: folder.write('ca.pem', authority.certificatePem) };
  });
  return {
    get authority() {
      return get().authority;
    },
    get file() {
      return get().file;
    },
  };
}
