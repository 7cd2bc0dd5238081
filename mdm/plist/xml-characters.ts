/**
 * Finds a character that XML 1.0 §2.2 forbids: control characters other than tab, line feed and return, U+FFFE, U+FFFF.
 * (Surrogates pass: in pairs they are characters, and a decoder of UTF-8 makes no halves.)
 */
export const FORBIDDEN_IN_XML = /[^\t\n\r -\ufffd]/;

/** XML 1.0 §2.2, production Char, for a code point. */
export const isXmlCharacter = (code: number): boolean =>
  code >= 0x20
    ? code <= 0xd7ff || (code >= 0xe000 && code <= 0xfffd) || (code >= 0x10000 && code <= 0x10ffff)
    : code === 0x09 || code === 0x0a || code === 0x0d;

/** XML 1.0 §2.3, production S. */
export const isXmlSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x09 || code === 0x0d;
