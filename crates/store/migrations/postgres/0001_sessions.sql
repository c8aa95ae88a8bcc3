-- Sessions, and the tombstones of those that ended (ended_at is set, most columns are null).
-- Times are integer milliseconds since the Unix epoch: to_timestamp(last_seen_at / 1000.0) makes them readable.
-- A number above 2^63 - 1 is kept as the same 64 bits, so it shows as negative. The name of the table is replaced.
CREATE TABLE secure_sessions (
    id           BYTEA  NOT NULL PRIMARY KEY,
    revision     BIGINT, -- grows with every write
    subject      BYTEA,  -- a keyed tag of whom the session belongs to
    label        BYTEA,  -- sealed
    created_at   BIGINT,
    last_seen_at BIGINT,
    expires_at   BIGINT NOT NULL, -- the absolute deadline
    idle_timeout BIGINT, -- milliseconds
    rotated_at   BIGINT,
    generation   BIGINT, -- of the current token
    fingerprint  BYTEA,  -- of the current token
    retired      BYTEA,  -- the superseded tokens that are not dead yet
    handoff      BYTEA,  -- the current token, sealed for those who hold a superseded one
    vault        BYTEA,  -- the name of the vault with its private values
    group_tag    BYTEA,  -- a keyed tag of the session at the identity provider that it came from
    ended_at     BIGINT, -- set: a tombstone
    successor    BYTEA,  -- of a tombstone: the id that a logged-in session moved to
    due_at       BIGINT NOT NULL, -- from when on the row may be deleted; at most 2^63 - 1
    purge_at     BIGINT NOT NULL, -- no later than due_at: the purge looks at the row from then on
    CHECK (octet_length(id) = 16),
    CHECK (
        CASE WHEN ended_at IS NULL
        THEN revision IS NOT NULL AND created_at IS NOT NULL AND last_seen_at IS NOT NULL AND rotated_at IS NOT NULL
            AND generation IS NOT NULL AND fingerprint IS NOT NULL AND octet_length(fingerprint) = 16
            AND successor IS NULL AND (vault IS NULL OR octet_length(vault) = 16)
            AND (group_tag IS NULL OR octet_length(group_tag) = 16)
        ELSE revision IS NULL AND subject IS NULL AND handoff IS NULL AND vault IS NULL
            AND group_tag IS NULL AND (successor IS NULL OR octet_length(successor) = 16)
        END
    )
);

CREATE INDEX secure_sessions_subject ON secure_sessions (subject, id) WHERE subject IS NOT NULL;
CREATE INDEX secure_sessions_group_tag ON secure_sessions (group_tag, id) WHERE group_tag IS NOT NULL;
CREATE INDEX secure_sessions_purge_at ON secure_sessions (purge_at);

COMMENT ON TABLE secure_sessions IS 'sessions of secure-sessions; times are milliseconds since the Unix epoch';
COMMENT ON COLUMN secure_sessions.subject IS 'a keyed tag of whom the session belongs to';
COMMENT ON COLUMN secure_sessions.expires_at IS 'the absolute deadline';
COMMENT ON COLUMN secure_sessions.idle_timeout IS 'milliseconds';
COMMENT ON COLUMN secure_sessions.generation IS 'of the current token';
COMMENT ON COLUMN secure_sessions.fingerprint IS 'of the current token';
COMMENT ON COLUMN secure_sessions.retired IS 'the superseded tokens that are not dead yet';
COMMENT ON COLUMN secure_sessions.handoff IS 'the current token, sealed for those who hold a superseded one';
COMMENT ON COLUMN secure_sessions.vault IS 'the name of the vault with its private values';
COMMENT ON COLUMN secure_sessions.group_tag IS 'a keyed tag of the session at the identity provider that it came from';
COMMENT ON COLUMN secure_sessions.ended_at IS 'set: a tombstone';
COMMENT ON COLUMN secure_sessions.successor IS 'of a tombstone: the id that a logged-in session moved to';
COMMENT ON COLUMN secure_sessions.due_at IS 'from when on the row may be deleted';
COMMENT ON COLUMN secure_sessions.purge_at IS 'no later than due_at: the purge looks at the row from then on';
