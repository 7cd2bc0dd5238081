import type { Server } from 'node:http';
import { type Environment, readEnvironment } from '../config/env.ts';
import { createLog, type Log } from '../config/log.ts';
import { type RunningProcess, runProcess } from '../config/run-process.ts';
import { createApp, createProbeApp } from './app.ts';
import { listen, portOf, stopListening } from './listen.ts';
import { openServices } from './services.ts';

let log: Log = createLog({ level: 'info', name: 'server' });
let shutdownMs = 20_000;

async function start(): Promise<RunningProcess> {
  const environment = readEnvironment();
  log = createLog({ level: environment.LOG_LEVEL, name: 'server' });
  shutdownMs = environment.SHUTDOWN_SECONDS * 1_000;
  const services = await openServices(environment, log);
  const servers = await listenAll(environment, services);
  const [port = 0] = servers.map(portOf);
  log.info('server.listening', { host: environment.HOST, port });
  process.send?.({ ready: true, port });
  return {
    async stop() {
      services.refuse();
      await Promise.all(servers.map((server) => stopListening(server, shutdownMs)));
      await services.close();
    },
  };
}

async function listenAll(
  environment: Environment,
  services: Awaited<ReturnType<typeof openServices>>,
): Promise<Server[]> {
  const main = await listen(createApp(environment, services), environment.PORT, environment.HOST);
  if (environment.METRICS_PORT === undefined) return [main];
  return [main, await listen(createProbeApp(services), environment.METRICS_PORT, environment.HOST)];
}

await runProcess(
  () => log,
  start,
  () => shutdownMs,
);
