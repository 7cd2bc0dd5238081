import { z } from 'zod';

/** A declaration as the server sends it (apple-protocols §7.1). */
export const declarationSchema = z.object({
  Type: z.string(),
  Identifier: z.string(),
  ServerToken: z.string(),
  Payload: z.record(z.string(), z.unknown()),
});
export type Declaration = z.infer<typeof declarationSchema>;

export const tokensSchema = z.object({ SyncTokens: z.object({ DeclarationsToken: z.string() }) });

const manifestEntries = z.array(z.object({ Identifier: z.string(), ServerToken: z.string() }));
export const manifestSchema = z.object({
  Declarations: z.object({
    Activations: manifestEntries,
    Assets: manifestEntries,
    Configurations: manifestEntries,
    Management: manifestEntries,
  }),
  DeclarationsToken: z.string(),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** The kinds in the order in which a device fetches them, with their names in the manifest and in URLs. */
export const KINDS = [
  { kind: 'activation', inManifest: 'Activations', inStatus: 'activations' },
  { kind: 'asset', inManifest: 'Assets', inStatus: 'assets' },
  { kind: 'configuration', inManifest: 'Configurations', inStatus: 'configurations' },
  { kind: 'management', inManifest: 'Management', inStatus: 'management' },
] as const;
export type DeclarationKind = (typeof KINDS)[number]['kind'];

/** By the second label of `com.apple.<kind>.…`; undefined for a type of no kind. */
export function kindOf({ Type }: Declaration): DeclarationKind | undefined {
  return KINDS.find(({ kind }) => Type.startsWith(`com.apple.${kind}.`))?.kind;
}
