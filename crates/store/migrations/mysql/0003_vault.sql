-- The sealed private values of sessions, each in the vault that its session's row names. A row is never changed but for its
-- deadline, in integer milliseconds since the Unix epoch. The name of the table is replaced.
-- MySQL commits every change of a table by itself: this may be run again. A BLOB would be 18 bytes too short.
CREATE TABLE IF NOT EXISTS secure_sessions_vault (
    vault    BINARY(16) NOT NULL,
    id       BINARY(16) NOT NULL,
    purge_at BIGINT     NOT NULL COMMENT 'from when on the row may be deleted, in milliseconds since the Unix epoch',
    value    MEDIUMBLOB NOT NULL COMMENT 'sealed; the key is in the cookie of the browser alone',
    PRIMARY KEY (vault, id),
    INDEX secure_sessions_vault_purge_at (purge_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT 'the sealed private values of the sessions in secure_sessions';
