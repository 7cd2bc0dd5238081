/** Bounds within which a plist is read; beyond any of them reading stops with `plist.limit`. */
export interface PlistLimits {
  /** Size of the whole document in bytes. Binary: also of all strings and data, each counted as often as it is used. */
  readonly maxBytes: number;
  /** Containers inside each other; the root container is the first. */
  readonly maxDepth: number;
  /** Values, the root and containers included. */
  readonly maxNodes: number;
  /** Length of a dict key in UTF-16 units. */
  readonly maxKeyLength: number;
  /** `maxDepth` of a binary plist (the lower of the two holds). */
  readonly maxBinaryDepth: number;
  /** `maxNodes` of a binary plist: of its object table, and of its values and keys, counted as often as they are used. */
  readonly maxBinaryNodes: number;
}

/**
 * 20 MiB holds the largest reports (an installed application list of some thousand apps is 1–5 MB) and commands.
 * The bounds for binary plists are Fleet's (nanomdm §9.5); no device is known to send one.
 */
export const DEFAULT_PLIST_LIMITS: PlistLimits = {
  maxBytes: 20 * 1024 * 1024,
  maxDepth: 64,
  maxNodes: 1_000_000,
  maxKeyLength: 4096,
  maxBinaryDepth: 16,
  maxBinaryNodes: 65_536,
};
