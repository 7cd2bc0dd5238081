import { isPlistDate, plistInteger } from './value.ts';

/** Longer numbers and dates are not looked at: converting digits costs more than linear time. */
const MAX_NUMBER_LENGTH = 400;

const INTEGER = /^[+-]?(?:[0-9]+|0[xX][0-9a-fA-F]+)$/;
const REAL = /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;
const INFINITY = /^([+-]?)inf(?:inity)?$/i;
const DATE = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/;

/** XML's white space only: `trim()` would also take no-break spaces and the like. */
const trimmed = (text: string): string => text.replace(/^[ \t\r\n]+/, '').replace(/[ \t\r\n]+$/, '');

/** `<integer>`: decimal or `0x` hex with an optional sign; white space around it is allowed. Undefined: not an integer. */
export function parseIntegerText(raw: string): number | bigint | undefined {
  if (raw.length > MAX_NUMBER_LENGTH) return undefined;
  const text = trimmed(raw);
  if (!INTEGER.test(text)) return undefined;
  const isNegative = text.startsWith('-');
  const digits = /^[+-]/.test(text) ? text.slice(1) : text;
  // Number() and BigInt() both know 0x; 15 digits are exact as a number. The zero takes the sign off -0.
  if (digits.length <= 15) return (isNegative ? -Number(digits) : Number(digits)) + 0;
  const magnitude = BigInt(digits);
  return plistInteger(isNegative ? -magnitude : magnitude);
}

/** `<real>`: a decimal number, or `nan`, `inf`, `infinity` in any case, as Apple's reader takes them. Undefined: neither. */
export function parseRealText(raw: string): number | undefined {
  if (raw.length > MAX_NUMBER_LENGTH) return undefined;
  const text = trimmed(raw);
  if (REAL.test(text)) {
    const value = Number(text);
    return Number.isFinite(value) ? value : undefined;
  }
  if (/^nan$/i.test(text)) return Number.NaN;
  const infinity = INFINITY.exec(text);
  if (infinity === null) return undefined;
  return infinity[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

/** `<date>`: `YYYY-MM-DDTHH:MM:SSZ` and nothing else. Undefined: another form, or a day or time that does not exist. */
export function parseDateText(raw: string): Date | undefined {
  if (raw.length > MAX_NUMBER_LENGTH) return undefined;
  const text = trimmed(raw);
  if (!DATE.test(text)) return undefined;
  const date = new Date(text);
  // JavaScript takes 30 February for 1 March, and 24:00 for the next day.
  return isPlistDate(date) && date.toISOString().slice(0, 19) === text.slice(0, 19) ? date : undefined;
}

/** `<data>`: padded base64 with white space anywhere. Undefined: any other character, or padding missing or misplaced. */
export function parseDataText(raw: string): Buffer | undefined {
  const text = /[ \t\r\n]/.test(raw) ? raw.replace(/[ \t\r\n]+/g, '') : raw;
  if (text.length % 4 !== 0) return undefined;
  const end = text.search(/[^A-Za-z0-9+/]/);
  const padding = end === -1 ? '' : text.slice(end);
  // Buffer.from skips what it does not know and takes the URL alphabet too, so everything is checked before.
  return padding === '' || padding === '=' || padding === '==' ? Buffer.from(text, 'base64') : undefined;
}
