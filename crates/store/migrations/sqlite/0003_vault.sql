-- The sealed private values of sessions, each in the vault that its session's row names. A row is never changed but for its
-- deadline, in integer milliseconds since the Unix epoch. The name of the table is replaced.
CREATE TABLE IF NOT EXISTS secure_sessions_vault (
    vault    BLOB    NOT NULL,
    id       BLOB    NOT NULL,
    purge_at INTEGER NOT NULL, -- from when on the row may be deleted
    value    BLOB    NOT NULL, -- sealed; the key is in the browser's cookie alone
    PRIMARY KEY (vault, id),
    CHECK (length(vault) = 16 AND length(id) = 16)
) STRICT;

CREATE INDEX IF NOT EXISTS secure_sessions_vault_purge_at ON secure_sessions_vault (purge_at);
