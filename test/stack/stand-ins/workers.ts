const end = (): void => process.exit(0);
process.on('SIGTERM', end).on('disconnect', end);
setInterval(() => undefined, 60_000);
