import { createServer } from 'node:net';
import { messageOf, StackError } from './stack-error.ts';

/** Throws StackError `port-busy` unless a server could listen there now. Port 0 means any, and is always free. */
export async function checkPort(host: string, port: number): Promise<void> {
  const probe = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      probe.once('error', reject);
      probe.listen({ host, port, exclusive: true }, resolve);
    });
  } catch (error) {
    const isBusy = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    throw new StackError(
      'port-busy',
      `${isBusy ? `Port ${port} is already in use by another program.` : `Port ${port} on ${host} cannot be used: ${messageOf(error)}.`} ` +
        `Choose another: npm start -- --port ${port < 65_535 ? port + 1 : 9001} (or PORT=… npm start).`,
      { cause: error },
    );
  } finally {
    await new Promise<void>((resolve) => probe.close(() => resolve()));
  }
}
