import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import express, { type Express, type RequestHandler, type Router } from 'express';
import helmet from 'helmet';
import { JOB_KINDS } from '../domain/job-kinds.ts';
import type { JobQueues } from '../queue/queues.ts';
import type { ApiAuth } from './auth/authenticate-api.ts';
import { refuseForeignWrites } from './auth/refuse-foreign-sites.ts';

export const BOARD_PATH = '/admin/queues';

const FOREIGN_LINK = /<link\b[^>]*\bhref="https?:[^>]*>/g;

/** Bull Board's page asks Google for its fonts. Our policy forbids it, and the link would be an error in the browser's console at each page. */
const withoutForeignLinks: RequestHandler = (_request, response, next) => {
  const send = response.send.bind(response);
  response.send = (body) =>
    send(typeof body === 'string' && body.startsWith('<!DOCTYPE html>') ? body.replaceAll(FOREIGN_LINK, '') : body);
  next();
};

/** A board over all queues; one for observers, on which nothing can be pressed, and one for the others. */
function createBoard(queues: JobQueues, readOnlyMode: boolean): RequestHandler {
  const adapter = new ExpressAdapter();
  adapter.setBasePath(BOARD_PATH);
  createBullBoard({
    queues: JOB_KINDS.map(
      (kind) =>
        new BullMQAdapter(queues[kind], {
          readOnlyMode,
          allowRetries: !readOnlyMode,
          description: 'Jobs are hints; the outbox in MySQL is what is owed',
        }),
    ),
    serverAdapter: adapter,
    options: { uiConfig: { boardTitle: 'Espalier', hideDocsLink: true } },
  });
  const board = adapter.getRouter() as Express;
  return board.disable('x-powered-by');
}

/**
 * Bull Board behind the API's keys: observers read, operators and admins may retry, pause and clean. Its forms have no CSRF token and browsers send Basic
 * credentials by themselves, so whatever changes something must come from the same origin.
 */
export function boardRouter(queues: JobQueues, auth: ApiAuth): Router {
  const router = express.Router();
  const [observers, others] = [createBoard(queues, true), createBoard(queues, false)];
  router.use(
    helmet({
      contentSecurityPolicy: {
        useDefaults: false,
        directives: {
          defaultSrc: ["'self'"],
          styleSrc: ["'self'", "'unsafe-inline'"],
          imgSrc: ["'self'", 'data:'],
          fontSrc: ["'self'"],
          objectSrc: ["'none'"],
          frameAncestors: ["'none'"],
        },
      },
      strictTransportSecurity: false,
    }),
  );
  router.use(auth.require('observer'));
  router.use(refuseForeignWrites);
  router.use(withoutForeignLinks);
  router.use((request, response, next) => {
    if (response.locals.apiKey?.role !== 'observer') others(request, response, next);
    else if (request.method === 'GET' || request.method === 'HEAD') observers(request, response, next);
    else response.status(403).json({ error: 'observers only look' });
  });
  return router;
}
