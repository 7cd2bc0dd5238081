import { connect, createServer, type Server, type Socket } from 'node:net';

interface Pair {
  readonly inside: Socket;
  readonly outside: Socket;
}

/**
 * A wire that can go dead without anybody being told: no byte passes and nothing is closed, as when a firewall forgets a connection or a machine
 * loses its power. Listens on loopback, leads to a Unix socket or another port.
 */
export class SilentProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #pairs: Set<Pair>;
  readonly #state: { isSilent: boolean };

  private constructor(server: Server, pairs: Set<Pair>, state: { isSilent: boolean }) {
    const address = server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    this.#server = server;
    this.#pairs = pairs;
    this.#state = state;
  }

  static async start(target: { readonly path: string } | { readonly host: string; readonly port: number }) {
    const pairs = new Set<Pair>();
    const state = { isSilent: false };
    const server = createServer((inside) => {
      const outside = connect(target);
      const pair = { inside, outside };
      pairs.add(pair);
      const end = (): void => {
        pairs.delete(pair);
        inside.destroy();
        outside.destroy();
      };
      for (const socket of [inside, outside]) socket.on('error', end).on('close', end);
      if (!state.isSilent) join(pair);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new SilentProxy(server, pairs, state);
  }

  /** Connections that are open now, dead ones included. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** From now on nothing passes, on the connections that there are nor on new ones. */
  silence(): void {
    this.#state.isSilent = true;
    for (const pair of this.#pairs) part(pair);
  }

  /** New connections work again; those that went dead stay dead for ever. */
  letNewOnesPass(): void {
    this.#state.isSilent = false;
  }

  async close(): Promise<void> {
    for (const { inside, outside } of this.#pairs) {
      inside.destroy();
      outside.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function join({ inside, outside }: Pair): void {
  inside.pipe(outside);
  outside.pipe(inside);
}

/** What arrives is read and lost: a connection whose bytes are not taken off would at last be noticed by its full buffers. */
function part({ inside, outside }: Pair): void {
  for (const socket of [inside, outside]) {
    socket.unpipe();
    socket.resume();
  }
}
