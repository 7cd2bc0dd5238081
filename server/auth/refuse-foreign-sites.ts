import type { IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';

/**
 * Whether a page of another site made a browser send this. Browsers send Basic credentials by themselves, a form may POST any text, and an image may GET.
 * `Sec-Fetch-Site` decides where it is sent (trustworthy origins), otherwise `Origin`; programs send neither.
 */
function isForeign({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  return headers.origin !== undefined && URL.parse(headers.origin)?.host !== headers.host;
}

const refuseForeign: RequestHandler = (request, response, next) => {
  if (isForeign(request)) response.status(403).json({ error: 'not from this site' });
  else next();
};

/** For an API, which no other site's page has business with: whatever the method, as even a GET may push. */
export const refuseForeignSites = refuseForeign;

/** For pages: links from elsewhere may lead to them. */
export const refuseForeignWrites: RequestHandler = (request, response, next) =>
  request.method === 'GET' || request.method === 'HEAD' ? next() : refuseForeign(request, response, next);
