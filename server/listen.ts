import { createServer, type RequestListener, type Server } from 'node:http';

/** A base64 Mdm-Signature with a long chain takes tens of KiB; ids of an enqueue are in the URL (nanomdm §14.1). */
const MAX_HEADER_BYTES = 1024 * 1024;
/** Above the idle time of the proxies in front. */
const KEEP_ALIVE_MS = 75_000;

/** A connection on which nothing moves for so long is closed: its peer does not read. Above what the longest request is thought about. */
const STUCK_MS = 300_000;

/** Listens. @throws when the port is taken */
export function listen(app: RequestListener, port: number, host: string): Promise<Server> {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: KEEP_ALIVE_MS + 5_000,
      requestTimeout: 120_000,
    },
    app,
  );
  server.setTimeout(STUCK_MS);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve(server);
    });
  });
}

/** Accepts nothing more, lets requests under way end, and cuts off what is left after the limit. */
export async function stopListening(server: Server, limitMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // A connection becomes idle only when its last answer is out: ask again until all are.
  const idle = setInterval(() => server.closeIdleConnections(), 100);
  const limit = setTimeout(() => server.closeAllConnections(), limitMs);
  server.closeIdleConnections();
  await closed;
  clearInterval(idle);
  clearTimeout(limit);
}

export const portOf = (server: Server): number => {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
};
