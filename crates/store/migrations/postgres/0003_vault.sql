-- The sealed private values of sessions, each in the vault that its session's row names. A row is never changed but for its
-- deadline, in integer milliseconds since the Unix epoch. The name of the table is replaced.
CREATE TABLE IF NOT EXISTS secure_sessions_vault (
    vault    BYTEA  NOT NULL,
    id       BYTEA  NOT NULL,
    purge_at BIGINT NOT NULL, -- from when on the row may be deleted
    value    BYTEA  NOT NULL, -- sealed; the key is in the browser's cookie alone
    PRIMARY KEY (vault, id),
    CHECK (octet_length(vault) = 16 AND octet_length(id) = 16)
);

CREATE INDEX IF NOT EXISTS secure_sessions_vault_purge_at ON secure_sessions_vault (purge_at);

COMMENT ON TABLE secure_sessions_vault IS 'the sealed private values of the sessions in secure_sessions';
COMMENT ON COLUMN secure_sessions_vault.purge_at IS 'from when on the row may be deleted, in milliseconds since the Unix epoch';
COMMENT ON COLUMN secure_sessions_vault.value IS 'sealed; the key is in the browser''s cookie alone';
