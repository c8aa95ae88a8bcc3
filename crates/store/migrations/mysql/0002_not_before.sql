-- The times before which tokens are refused, in integer milliseconds since the Unix epoch. The latest one counts; a row is
-- added by each call, and none is ever changed. The name of the table is replaced.
-- MySQL commits every change of a table by itself: this may be run again.
CREATE TABLE IF NOT EXISTS secure_sessions_not_before (
    not_before BIGINT NOT NULL PRIMARY KEY
) ENGINE = InnoDB;
