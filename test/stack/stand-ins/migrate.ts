import mysql from 'mysql2/promise';

const connection = await mysql.createConnection(process.env.DATABASE_URL ?? '');
await connection.query('CREATE TABLE IF NOT EXISTS start_count (id INT AUTO_INCREMENT PRIMARY KEY)');
await connection.query('INSERT INTO start_count () VALUES ()');
await connection.end();
