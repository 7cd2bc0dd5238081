import { isPlistDate, plistInteger } from './value.ts';
import { isXmlSpace } from './xml-characters.ts';

/** Longer numbers and dates are not looked at: converting digits costs more than linear time. */
const MAX_NUMBER_LENGTH = 400;

const INTEGER = /^[+-]?(?:[0-9]+|0[xX][0-9a-fA-F]+)$/;
const REAL = /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;
const INFINITY = /^([+-]?)inf(?:inity)?$/i;
const DATE = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/;

/** XML's white space only: `trim()` would also take no-break spaces and the like. */
const trimmed = (text: string): string =>
  isXmlSpace(text.charCodeAt(0)) || isXmlSpace(text.charCodeAt(text.length - 1))
    ? text.replace(/^[ \t\r\n]+/, '').replace(/[ \t\r\n]+$/, '')
    : text;

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
export function parseDataText(text: string): Buffer | undefined {
  let digits = 0;
  let padding = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (isBase64Digit(code)) {
      if (padding > 0) return undefined;
      digits += 1;
    } else if (code === 0x3d) {
      padding += 1;
    } else if (!isXmlSpace(code)) {
      return undefined;
    }
  }
  if (padding > 2 || (digits + padding) % 4 !== 0) return undefined;
  // Buffer.from skips white space, but also everything else that it does not know, and takes the URL alphabet too.
  return Buffer.from(text, 'base64');
}

const isBase64Digit = (code: number): boolean =>
  (code >= 0x61 && code <= 0x7a) ||
  (code >= 0x41 && code <= 0x5a) ||
  (code >= 0x30 && code <= 0x39) ||
  code === 0x2b ||
  code === 0x2f;
