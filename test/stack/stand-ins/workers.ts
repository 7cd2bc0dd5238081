const end = (): void => process.exit(0);
process.on('SIGTERM', end).on('disconnect', end);
process.send?.({ ready: true });
setInterval(() => undefined, 60_000);
