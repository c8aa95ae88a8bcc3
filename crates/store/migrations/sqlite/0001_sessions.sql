-- Sessions, and the tombstones of those that ended (ended_at is set, most columns are null).
-- Times are integer milliseconds since the Unix epoch: datetime(last_seen_at / 1000, 'unixepoch') makes them readable.
-- A number above 2^63 - 1 is kept as the same 64 bits, so it shows as negative. The name of the table is replaced.
CREATE TABLE secure_sessions (
    id           BLOB    NOT NULL PRIMARY KEY,
    revision     INTEGER, -- grows with every write
    subject      BLOB,    -- a keyed tag of whom the session belongs to
    label        BLOB,    -- sealed
    created_at   INTEGER,
    last_seen_at INTEGER,
    expires_at   INTEGER NOT NULL, -- the absolute deadline
    idle_timeout INTEGER, -- milliseconds
    rotated_at   INTEGER,
    generation   INTEGER, -- of the current token
    fingerprint  BLOB,    -- of the current token
    retired      BLOB,    -- the superseded tokens that are not dead yet
    handoff      BLOB,    -- the current token, sealed for those who hold a superseded one
    vault        BLOB,    -- the name of the vault with its private values
    group_tag    BLOB,    -- a keyed tag of the session at the identity provider that it came from
    ended_at     INTEGER, -- set: a tombstone
    successor    BLOB,    -- of a tombstone: the id that a logged-in session moved to
    due_at       INTEGER NOT NULL, -- from when on the row may be deleted; at most 2^63 - 1
    purge_at     INTEGER NOT NULL, -- no later than due_at: the purge looks at the row from then on
    CHECK (length(id) = 16),
    CHECK (
        CASE WHEN ended_at IS NULL
        THEN revision IS NOT NULL AND created_at IS NOT NULL AND last_seen_at IS NOT NULL AND rotated_at IS NOT NULL
            AND generation IS NOT NULL AND length(fingerprint) = 16 AND successor IS NULL
            AND (vault IS NULL OR length(vault) = 16) AND (group_tag IS NULL OR length(group_tag) = 16)
        ELSE revision IS NULL AND subject IS NULL AND handoff IS NULL AND vault IS NULL
            AND group_tag IS NULL AND (successor IS NULL OR length(successor) = 16)
        END
    )
) STRICT;

CREATE INDEX secure_sessions_subject ON secure_sessions (subject, id) WHERE subject IS NOT NULL;
CREATE INDEX secure_sessions_group_tag ON secure_sessions (group_tag, id) WHERE group_tag IS NOT NULL;
CREATE INDEX secure_sessions_purge_at ON secure_sessions (purge_at);
