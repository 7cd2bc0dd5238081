import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { GetToken } from '../../mdm/check-in.ts';
import { ServerError } from '../errors.ts';

export type GetTokenHandler = (message: GetToken) => Buffer;

const TOKENS = z.record(z.string().min(1), z.base64());

/**
 * Answers GetToken from a JSON file of TokenServiceType → base64 token. An unknown type is the device's mistake: 400 (apple-protocols §1.5).
 * @throws at start, when the file cannot be read or is malformed
 */
export function createGetToken(tokensFile: string): GetTokenHandler {
  const tokens = tokensFile === '' ? {} : TOKENS.parse(JSON.parse(readFileSync(tokensFile, 'utf8')));
  return ({ tokenServiceType }) => {
    const token = Object.hasOwn(tokens, tokenServiceType) ? tokens[tokenServiceType] : undefined;
    if (token === undefined) throw new ServerError('token.unsupported', 'no handler for TokenServiceType');
    return Buffer.from(token, 'base64');
  };
}
