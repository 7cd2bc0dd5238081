import { createPlistDict, isPlistDict, type PlistDict, type PlistValue, setDictEntry } from '../mdm/plist/value.ts';

/** Reads a dict by key and type: a key that is missing or of another type is undefined, never an exception. */
export class Fields {
  readonly #dict: PlistDict;

  constructor(dict: PlistDict) {
    this.#dict = dict;
  }

  /** Undefined when the value is not a dict. */
  static of(value: PlistValue | undefined): Fields | undefined {
    return isPlistDict(value) ? new Fields(value) : undefined;
  }

  get keys(): readonly string[] {
    return Object.keys(this.#dict);
  }

  value(key: string): PlistValue | undefined {
    return this.#dict[key];
  }

  string(key: string): string | undefined {
    const value = this.#dict[key];
    return typeof value === 'string' ? value : undefined;
  }

  integer(key: string): number | undefined {
    const value = this.#dict[key];
    return Number.isInteger(value) ? Number(value) : undefined;
  }

  /** A missing boolean is false, as Apple's commands have it. */
  boolean(key: string): boolean {
    return this.#dict[key] === true;
  }

  data(key: string): Buffer | undefined {
    const value = this.#dict[key];
    return Buffer.isBuffer(value) ? value : undefined;
  }

  fields(key: string): Fields | undefined {
    return Fields.of(this.#dict[key]);
  }

  /** The dicts of an array; other elements are left out. */
  list(key: string): readonly Fields[] {
    const value = this.#dict[key];
    return Array.isArray(value) ? value.flatMap((element) => Fields.of(element) ?? []) : [];
  }

  /** The strings of an array; other elements are left out. */
  strings(key: string): readonly string[] {
    const value = this.#dict[key];
    return Array.isArray(value) ? value.filter((element) => typeof element === 'string') : [];
  }
}

/** A value on its way into a plist; keys with an undefined value are left out. */
export type WritableValue =
  | string
  | number
  | bigint
  | boolean
  | Date
  | Buffer
  | readonly WritableValue[]
  | { readonly [key: string]: WritableValue | undefined };

type WritableDict = Extract<WritableValue, { readonly [key: string]: WritableValue | undefined }>;

export function toPlist(value: WritableValue): PlistValue {
  if (typeof value !== 'object' || value instanceof Date || Buffer.isBuffer(value)) return value;
  if (isList(value)) return value.map(toPlist);
  return toPlistDict(value);
}

export function toPlistDict(value: WritableDict): PlistDict {
  const dict = createPlistDict();
  for (const [key, element] of Object.entries(value)) {
    if (element !== undefined) setDictEntry(dict, key, toPlist(element));
  }
  return dict;
}

/** `Array.isArray` alone does not narrow readonly arrays. */
function isList(value: WritableValue): value is readonly WritableValue[] {
  return Array.isArray(value);
}
