import type { Identifiers } from './enrollment-id.ts';
import { ProtocolError } from './errors.ts';
import { isPlistDict, type PlistDict, type PlistValue } from './plist/value.ts';

/** Reads known keys of a message. A known key of a wrong type is the sender's error (nanomdm §1.1); unknown keys are ignored. */
export class MessageFields {
  readonly #dict: PlistDict;

  constructor(dict: PlistDict) {
    this.#dict = dict;
  }

  static of(root: PlistValue): MessageFields {
    if (!isPlistDict(root)) throw new ProtocolError('message.field', 'the message is not a dictionary');
    return new MessageFields(root);
  }

  string(key: string): string | undefined {
    return this.#read(key, 'a string', (value) => (typeof value === 'string' ? value : undefined));
  }

  data(key: string): Buffer | undefined {
    return this.#read(key, 'data', (value) => (Buffer.isBuffer(value) ? value : undefined));
  }

  boolean(key: string): boolean | undefined {
    return this.#read(key, 'a boolean', (value) => (typeof value === 'boolean' ? value : undefined));
  }

  dict(key: string): PlistDict | undefined {
    return this.#read(key, 'a dictionary', (value) => (isPlistDict(value) ? value : undefined));
  }

  dicts(key: string): PlistDict[] | undefined {
    return this.#read(key, 'an array of dictionaries', (value) =>
      Array.isArray(value) && value.every(isPlistDict) ? value : undefined,
    );
  }

  identifiers(): Identifiers {
    return {
      UDID: this.string('UDID'),
      UserID: this.string('UserID'),
      UserShortName: this.string('UserShortName'),
      UserLongName: this.string('UserLongName'),
      EnrollmentID: this.string('EnrollmentID'),
      EnrollmentUserID: this.string('EnrollmentUserID'),
    };
  }

  #read<T>(key: string, expected: string, convert: (value: PlistValue) => T | undefined): T | undefined {
    const value = this.#dict[key];
    if (value === undefined) return undefined;
    const converted = convert(value);
    if (converted === undefined) throw new ProtocolError('message.field', `${key} is not ${expected}`);
    return converted;
  }
}
