/**
 * What a property list can hold. `<data>` is a Buffer; an integer beyond ±(2^53 − 1) is a bigint (−2^63 … 2^64 − 1);
 * dicts have no prototype, so a key named `__proto__` or `constructor` is a key like any other.
 */
export type PlistValue = string | number | bigint | boolean | Date | Buffer | PlistValue[] | PlistDict;

/** A dict. Order of keys carries no meaning in a plist (and JavaScript moves keys like `"12"` to the front). */
export type PlistDict = { [key: string]: PlistValue };

/** An empty dict without a prototype. */
export const createPlistDict = (): PlistDict => Object.create(null);

/** Whether a value is a dict: not an array, not a date, not data. `undefined` (a missing key) is not one. */
export const isPlistDict = (value: PlistValue | undefined): value is PlistDict =>
  typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date) && !(value instanceof Uint8Array);

/**
 * Sets `dict[key]`, for keys chosen by a stranger; a key set before is replaced.
 *
 * V8 keeps properties named like array indexes in a flat list with room for every index below: a dict whose only key is
 * `1023` costs 12 KB, so 20 MB of `<dict><key>1023</key><true/></dict>` would cost 7 GB. Defining such a property first
 * with an unusual attribute moves the dict to V8's hash table (0.4 KB) for good.
 */
export function setDictEntry(dict: PlistDict, key: string, value: PlistValue): void {
  const first = key.charCodeAt(0);
  if (first >= 0x30 && first <= 0x39) {
    Object.defineProperty(dict, key, { value, writable: true, enumerable: false, configurable: true });
    Object.defineProperty(dict, key, { enumerable: true });
  } else {
    dict[key] = value;
  }
}

/** Integers that plists hold: what fits a signed or an unsigned 64-bit integer, as in Apple's CFNumber. */
export const PLIST_INTEGER_MIN = -(2n ** 63n);
export const PLIST_INTEGER_MAX = 2n ** 64n - 1n;

/** An integer in the form used throughout: a number where that is exact, otherwise a bigint; undefined out of range. */
export function plistInteger(value: bigint): number | bigint | undefined {
  if (value < PLIST_INTEGER_MIN || value > PLIST_INTEGER_MAX) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Whether a date can be written as `YYYY-MM-DDTHH:MM:SSZ`: valid, in the years 0000 to 9999. */
export const isPlistDate = (date: Date): boolean => {
  const ms = date.getTime();
  return ms >= DATE_MIN_MS && ms <= DATE_MAX_MS;
};

const DATE_MIN_MS = Date.parse('0000-01-01T00:00:00Z');
const DATE_MAX_MS = Date.parse('9999-12-31T23:59:59.999Z');
