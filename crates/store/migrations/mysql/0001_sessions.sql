-- Sessions, and the tombstones of those that ended (ended_at is set, most columns are null).
-- Times are integer milliseconds since the Unix epoch: FROM_UNIXTIME(last_seen_at / 1000) makes them readable.
-- A number above 2^63 - 1 is kept as the same 64 bits, so it shows as negative. The name of the table is replaced.
-- MySQL commits every change of a table by itself: this may be run again.
CREATE TABLE IF NOT EXISTS secure_sessions (
    id           BINARY(16) NOT NULL PRIMARY KEY,
    revision     BIGINT          COMMENT 'grows with every write',
    subject      BINARY(16)      COMMENT 'a keyed tag of whom the session belongs to',
    label        VARBINARY(1024) COMMENT 'sealed',
    created_at   BIGINT,
    last_seen_at BIGINT,
    expires_at   BIGINT NOT NULL COMMENT 'the absolute deadline',
    idle_timeout BIGINT          COMMENT 'milliseconds',
    rotated_at   BIGINT,
    generation   BIGINT          COMMENT 'of the current token',
    fingerprint  BINARY(16)      COMMENT 'of the current token',
    retired      BLOB            COMMENT 'the superseded tokens that are not dead yet',
    handoff      BLOB            COMMENT 'the current token, sealed for those who hold a superseded one',
    vault        BINARY(16)      COMMENT 'the name of the vault with its private values',
    group_tag    BINARY(16)      COMMENT 'a keyed tag of the session at the identity provider that it came from',
    ended_at     BIGINT          COMMENT 'set: a tombstone',
    successor    BINARY(16)      COMMENT 'of a tombstone: the id that a logged-in session moved to',
    due_at       BIGINT NOT NULL COMMENT 'from when on the row may be deleted; at most 2^63 - 1',
    purge_at     BIGINT NOT NULL COMMENT 'no later than due_at: the purge looks at the row from then on',
    INDEX secure_sessions_subject (subject, id),
    INDEX secure_sessions_group_tag (group_tag, id),
    INDEX secure_sessions_purge_at (purge_at),
    CHECK (
        (ended_at IS NULL AND revision IS NOT NULL AND created_at IS NOT NULL AND last_seen_at IS NOT NULL
            AND rotated_at IS NOT NULL AND generation IS NOT NULL AND fingerprint IS NOT NULL
            AND successor IS NULL)
        OR (ended_at IS NOT NULL AND revision IS NULL AND subject IS NULL AND handoff IS NULL
            AND vault IS NULL AND group_tag IS NULL)
    )
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT 'sessions of secure-sessions; times are milliseconds since the Unix epoch';
