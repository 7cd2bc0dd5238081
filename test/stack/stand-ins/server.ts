import { createServer } from 'node:http';
import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';

// Answers what it was given, and how many starts the database has seen; ends like the real one.

const { DATABASE_URL = '', REDIS_URL = '', SECRET_KEY = '', API_KEY, DATA_DIR, PORT } = process.env;
const redis = new Redis(REDIS_URL);
redis.on('error', () => undefined);

const countStarts = async (): Promise<unknown> => {
  const connection = await mysql.createConnection(DATABASE_URL);
  try {
    const [rows] = await connection.query('SELECT COUNT(*) AS starts FROM start_count');
    return rows;
  } finally {
    connection.destroy();
  }
};

const server = createServer((_request, response) => {
  Promise.all([countStarts(), redis.ping()])
    .then(([rows, pong]) => ({ rows, pong, pid: process.pid, secretKeyLength: SECRET_KEY.length, API_KEY, DATA_DIR }))
    .then(
      (answer) => response.end(JSON.stringify(answer)),
      (error: unknown) => response.writeHead(503).end(String(error)),
    );
});
const end = (): void => process.exit(0);
process.on('SIGTERM', end).on('disconnect', end);
server.listen(Number(PORT), () => process.send?.({ ready: true, port: Number(PORT) }));
