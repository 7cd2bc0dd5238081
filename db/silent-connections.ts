import { Socket } from 'node:net';
import type { Pool, PoolConnection } from 'mysql2';

/**
 * Ends connections on which a statement has waited so long without a byte from either side: a firewall that forgot them or a machine that lost its
 * power closes nothing, and the driver would wait for ever. The statement fails as with any lost connection. What happened to one has probably
 * happened to all, so the idle ones are dropped too, before each of them costs somebody the same wait. The handshake has the driver's own limit.
 * @param limitMs longer than the slowest statement, as the server says nothing while it works
 */
export function endSilentConnections(pool: Pool, limitMs: number): void {
  const idle = new Set<PoolConnection>();
  pool.on('acquire', (connection) => idle.delete(connection));
  pool.on('release', (connection) => idle.add(connection));
  pool.on('connection', (connection) => {
    const stream: unknown = Reflect.get(connection, 'stream');
    if (!(stream instanceof Socket)) return;
    // Every byte begins the time anew, a statement that is sent too.
    stream.setTimeout(limitMs);
    stream.on('timeout', () => {
      if (idle.has(connection)) return;
      stream.destroy(new SilentConnection(limitMs));
      for (const suspect of idle) suspect.destroy();
      idle.clear();
    });
    stream.once('close', () => idle.delete(connection));
  });
}

/** Taken for a connection loss by its code (db/errors.ts): whether the statement was carried out is unknown. */
class SilentConnection extends Error {
  readonly code = 'ETIMEDOUT';

  constructor(limitMs: number) {
    super(`MySQL said nothing for ${limitMs} ms`);
    this.name = 'SilentConnection';
  }
}
