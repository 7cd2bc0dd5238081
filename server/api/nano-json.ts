import type { ServerResponse } from 'node:http';

const ESCAPED: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};

/** JSON as NanoMDM writes it: indented with tabs, a newline at the end, `<`, `>` and `&` escaped (nanomdm §4.1). */
export const nanoJson = (value: object): string =>
  `${JSON.stringify(value, null, '\t').replace(/[<>&\u2028\u2029]/g, (character) => ESCAPED[character] ?? character)}\n`;

export function sendJson(response: ServerResponse, status: number, value: object): void {
  const body = Buffer.from(nanoJson(value));
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body);
}

/** RFC 3339 in whole seconds, as the reference writes `not_after`. */
export const wholeSeconds = (date: Date): string => date.toISOString().replace(/\.\d+Z$/, 'Z');
