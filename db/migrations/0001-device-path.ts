import type { Knex } from 'knex';

const ID = 'INT UNSIGNED NOT NULL';
const NAME = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
const ASCII = 'CHARACTER SET ascii COLLATE ascii_bin';
const AT = 'DATETIME(6)';

/** docs/architecture.md, "Data", says what one row of each table is. Columns whose name ends in `_sealed` are encrypted (db/secret-box.ts). */
const TABLES: readonly string[] = [
  `CREATE TABLE outbox (
    kind VARCHAR(32) ${ASCII} NOT NULL,
    \`key\` VARCHAR(96) ${ASCII} NOT NULL,
    stamp BIGINT UNSIGNED NOT NULL,
    due_at ${AT} NOT NULL,
    look_at ${AT} NULL,
    attempts SMALLINT UNSIGNED NOT NULL DEFAULT 0,
    failed_at ${AT} NULL,
    last_error VARCHAR(500) NULL,
    PRIMARY KEY (kind, \`key\`),
    KEY look (kind, look_at)
  )`,
  `CREATE TABLE leases (
    name VARCHAR(64) ${ASCII} NOT NULL PRIMARY KEY,
    holder VARCHAR(64) ${ASCII} NOT NULL,
    held_until ${AT} NOT NULL
  )`,
  `CREATE TABLE hosts (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    host_key VARCHAR(255) ${NAME} NOT NULL,
    udid VARCHAR(255) ${NAME} NULL,
    serial_number VARCHAR(127) ${NAME} NULL,
    device_name VARCHAR(255) ${NAME} NULL,
    model VARCHAR(127) ${NAME} NULL,
    model_name VARCHAR(127) ${NAME} NULL,
    product_name VARCHAR(127) ${NAME} NULL,
    os_version VARCHAR(63) ${NAME} NULL,
    build_version VARCHAR(63) ${NAME} NULL,
    inventory_at ${AT} NULL,
    reports_processed INT UNSIGNED NOT NULL DEFAULT 0,
    created_at ${AT} NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY host_key (host_key),
    KEY serial_number (serial_number)
  )`,
  `CREATE TABLE enrollments (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    host_id ${ID},
    enrollment_key VARCHAR(255) ${NAME} NOT NULL,
    enrollment_id VARCHAR(255) ${NAME} NOT NULL,
    is_device TINYINT(1) NOT NULL,
    type VARCHAR(31) ${ASCII} NOT NULL,
    user_short_name VARCHAR(255) ${NAME} NULL,
    user_long_name VARCHAR(255) ${NAME} NULL,
    enabled TINYINT(1) NOT NULL DEFAULT 0,
    token_update_tally INT UNSIGNED NOT NULL DEFAULT 0,
    authenticated_at ${AT} NULL,
    enrolled_at ${AT} NULL,
    disabled_at ${AT} NULL,
    created_at ${AT} NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY enrollment_key (enrollment_key),
    KEY host (host_id, is_device),
    CONSTRAINT enrollment_host FOREIGN KEY (host_id) REFERENCES hosts (id) ON DELETE CASCADE
  )`,
  `CREATE TABLE push_tokens (
    enrollment_id ${ID} PRIMARY KEY,
    topic VARCHAR(255) ${ASCII} NOT NULL,
    push_magic VARCHAR(127) ${NAME} NOT NULL,
    token VARBINARY(255) NOT NULL,
    updated_at ${AT} NOT NULL,
    dead_at ${AT} NULL,
    last_push_at ${AT} NULL,
    last_push_status SMALLINT UNSIGNED NULL,
    last_push_error VARCHAR(255) ${NAME} NULL,
    last_apns_id CHAR(36) ${ASCII} NULL,
    unanswered_pushes SMALLINT UNSIGNED NOT NULL DEFAULT 0,
    repush_at ${AT} NULL,
    KEY repush (repush_at),
    CONSTRAINT push_token_enrollment FOREIGN KEY (enrollment_id) REFERENCES enrollments (id) ON DELETE CASCADE
  )`,
  `CREATE TABLE last_seen (
    enrollment_id ${ID} PRIMARY KEY,
    seen_at ${AT} NOT NULL,
    KEY seen_at (seen_at)
  )`,
  `CREATE TABLE check_ins (
    enrollment_id ${ID},
    message_type VARCHAR(31) ${ASCII} NOT NULL,
    received_at ${AT} NOT NULL,
    body_sealed MEDIUMBLOB NOT NULL,
    PRIMARY KEY (enrollment_id, message_type),
    CONSTRAINT check_in_enrollment FOREIGN KEY (enrollment_id) REFERENCES enrollments (id) ON DELETE CASCADE
  )`,
  `CREATE TABLE device_secrets (
    enrollment_id ${ID},
    name VARCHAR(31) ${ASCII} NOT NULL,
    set_at ${AT} NOT NULL,
    value_sealed MEDIUMBLOB NOT NULL,
    PRIMARY KEY (enrollment_id, name),
    CONSTRAINT device_secret_enrollment FOREIGN KEY (enrollment_id) REFERENCES enrollments (id) ON DELETE CASCADE
  )`,
  `CREATE TABLE certificate_associations (
    sha256 BINARY(32) NOT NULL PRIMARY KEY,
    enrollment_id ${ID},
    certificate BLOB NULL,
    not_after ${AT} NULL,
    associated_at ${AT} NOT NULL,
    KEY enrollment (enrollment_id, associated_at),
    KEY not_after (not_after),
    CONSTRAINT association_enrollment FOREIGN KEY (enrollment_id) REFERENCES enrollments (id) ON DELETE CASCADE
  )`,
  `CREATE TABLE commands (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    command_uuid VARCHAR(127) ${NAME} NOT NULL,
    request_type VARCHAR(63) ${NAME} NOT NULL,
    priority SMALLINT NOT NULL DEFAULT 0,
    origin VARCHAR(15) ${ASCII} NOT NULL DEFAULT 'api',
    origin_id VARCHAR(96) ${ASCII} NULL,
    renews_enrollment TINYINT(1) NOT NULL DEFAULT 0,
    created_at ${AT} NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    body_sealed LONGBLOB NOT NULL,
    UNIQUE KEY command_uuid (command_uuid)
  )`,
  `CREATE TABLE command_queue (
    enrollment_id ${ID},
    urgency SMALLINT NOT NULL COMMENT 'minus the priority, so that ascending is the order of leaving',
    command_id BIGINT UNSIGNED NOT NULL,
    is_not_now TINYINT(1) NOT NULL DEFAULT 0,
    PRIMARY KEY (enrollment_id, urgency, command_id)
  )`,
  `CREATE TABLE command_results (
    enrollment_id ${ID},
    command_id BIGINT UNSIGNED NOT NULL,
    status VARCHAR(31) ${NAME} NULL,
    received_at ${AT} NULL,
    ended_at ${AT} NULL,
    cleared_at ${AT} NULL,
    not_now_at ${AT} NULL,
    not_now_tally INT UNSIGNED NOT NULL DEFAULT 0,
    process_host_id INT UNSIGNED NULL COMMENT 'the host, while report.process has not yet consumed it',
    body_sealed LONGBLOB NULL,
    PRIMARY KEY (enrollment_id, command_id),
    KEY command (command_id),
    KEY process (process_host_id)
  )`,
  `CREATE TABLE push_certs (
    topic VARCHAR(255) ${ASCII} NOT NULL PRIMARY KEY,
    certificate_pem TEXT ${ASCII} NOT NULL,
    key_sealed BLOB NOT NULL,
    not_after ${AT} NOT NULL,
    version INT UNSIGNED NOT NULL DEFAULT 1,
    updated_at ${AT} NOT NULL
  )`,
  `CREATE TABLE apns_routes (
    topic VARCHAR(255) ${ASCII} NOT NULL PRIMARY KEY,
    url VARCHAR(1024) ${ASCII} NOT NULL,
    ca_pem TEXT ${ASCII} NULL,
    updated_at ${AT} NOT NULL
  )`,
  `CREATE TABLE certificate_authorities (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(63) ${ASCII} NOT NULL,
    certificate_pem TEXT ${ASCII} NOT NULL,
    key_sealed BLOB NOT NULL,
    created_at ${AT} NOT NULL,
    UNIQUE KEY name (name)
  )`,
  `CREATE TABLE api_keys (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(127) ${NAME} NOT NULL,
    role VARCHAR(15) ${ASCII} NOT NULL,
    key_hash BINARY(32) NOT NULL,
    created_at ${AT} NOT NULL,
    revoked_at ${AT} NULL,
    UNIQUE KEY key_hash (key_hash),
    UNIQUE KEY name (name)
  )`,
];

const nameOf = (statement: string): string => /^CREATE TABLE (\w+)/.exec(statement)?.[1] ?? '';

// DDL commits by itself: each statement can be run again after a crash in the middle.
export async function up(knex: Knex): Promise<void> {
  for (const statement of TABLES) {
    if (await knex.schema.hasTable(nameOf(statement))) continue;
    await knex.raw(`${statement} ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`);
  }
}

export async function down(): Promise<void> {
  throw new Error('migrations go forward only');
}
