// A server that hangs when it is told to stop.
process.on('SIGTERM', () => undefined);
process.send?.({ ready: true, port: Number(process.env.PORT) });
setInterval(() => undefined, 60_000);
