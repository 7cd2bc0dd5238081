import { type Declaration, type DeclarationKind, kindOf } from './declaration.ts';

export interface Reason {
  readonly code: string;
  readonly description: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** What the device makes of one declaration; reported under `management.declarations`. */
export interface Verdict {
  readonly kind: DeclarationKind;
  readonly identifier: string;
  readonly serverToken: string;
  readonly active: boolean;
  readonly valid: 'valid' | 'invalid';
  readonly reasons: readonly Reason[];
}

/**
 * Applies a set of declarations (apple-protocols §7.3, §10.4): a configuration is active when a valid activation names
 * it, an asset when an active configuration does. Predicates are taken for true.
 */
export function evaluateDeclarations(declarations: readonly Declaration[]): Verdict[] {
  const known = new Set(declarations.map(({ Identifier }) => Identifier));
  const reasons = new Map(declarations.map((declaration) => [declaration.Identifier, faultsOf(declaration, known)]));
  const isValid = ({ Identifier }: Declaration) => reasons.get(Identifier)?.length === 0;
  const ofKind = (kind: DeclarationKind) =>
    declarations.filter((declaration) => kindOf(declaration) === kind && isValid(declaration));
  const activations = ofKind('activation');
  const activated = new Set(activations.flatMap(configurationsNamedBy));
  const activeConfigurations = ofKind('configuration').filter(({ Identifier }) => activated.has(Identifier));
  const usedAssets = new Set(activeConfigurations.flatMap(({ Payload }) => assetsNamedIn(Payload)));
  const active = new Set([...activations.map(({ Identifier }) => Identifier), ...activated, ...usedAssets]);
  return declarations.map((declaration) => {
    const { Identifier: identifier, ServerToken: serverToken } = declaration;
    // A type of no kind can only be reported among the configurations.
    const kind = kindOf(declaration) ?? 'configuration';
    const valid = isValid(declaration);
    const isActive = valid && active.has(identifier);
    const faults = reasons.get(identifier) ?? [];
    return {
      kind,
      identifier,
      serverToken,
      active: isActive,
      valid: valid ? 'valid' : 'invalid',
      reasons: valid && !isActive ? whyInactive(kind, declaration) : faults,
    };
  });
}

function faultsOf(declaration: Declaration, known: ReadonlySet<string>): Reason[] {
  const { Type, Payload } = declaration;
  const missing = (names: readonly string[]) => names.filter((name) => !known.has(name));
  if (kindOf(declaration) === undefined) return [reasonFor(declaration, 'Error.ConfigurationNotSupported')];
  if (kindOf(declaration) === 'activation') {
    const ConfigurationIdentifiers = missing(configurationsNamedBy(declaration));
    return ConfigurationIdentifiers.length === 0
      ? []
      : [reasonFor(declaration, 'Error.MissingConfigurations', { ConfigurationIdentifiers })];
  }
  const AssetIdentifiers = missing(assetsNamedIn(Payload));
  if (AssetIdentifiers.length > 0) return [reasonFor(declaration, 'Error.MissingAssets', { AssetIdentifiers })];
  const isTest = Type === 'com.apple.configuration.management.test';
  return isTest && Payload.ReturnStatus === 'Failed' ? [reasonFor(declaration, 'Error.ConfigurationFailed')] : [];
}

function whyInactive(kind: DeclarationKind, declaration: Declaration): Reason[] {
  if (kind === 'configuration') return [reasonFor(declaration, 'Info.NotReferencedByActivation')];
  if (kind === 'asset') return [reasonFor(declaration, 'Info.NotReferencedByConfiguration')];
  return [];
}

function reasonFor({ Identifier, ServerToken }: Declaration, code: string, details = {}): Reason {
  return { code, description: code, details: { Identifier, ServerToken, ...details } };
}

function configurationsNamedBy({ Payload }: Declaration): string[] {
  return stringsIn(Payload.StandardConfigurations);
}

/** The values of all keys that end in `AssetReference` or `AssetReferences`, at any depth. */
function assetsNamedIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(assetsNamedIn);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    /AssetReferences?$/.test(key) ? stringsIn(inner) : assetsNamedIn(inner),
  );
}

function stringsIn(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter((element) => typeof element === 'string');
}
