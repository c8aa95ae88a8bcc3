//! PostgreSQL.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgRow};
use sqlx::{AssertSqlSafe, Error, SqlSafeStr, SqlStr};

use super::dialect::{Row, Spelling, Value};
use super::error::{Failure, Meaning};
use super::server::{Engine, Lease, ServerTransaction, settings};
use crate::StoreError;

/// PostgreSQL.
pub(super) struct Postgres;

/// Returns the pool of a store's own.
pub(super) fn pool(url: &str, max_connections: u32, timeout: Duration) -> Result<PgPool, StoreError> {
    let mut options = PgConnectOptions::from_str(url).map_err(StoreError::rejected)?;
    if options.get_application_name().is_none() {
        options = options.application_name("secure-sessions");
    }
    Ok(settings(options, max_connections, timeout))
}

impl Engine for Postgres {
    type Database = sqlx::Postgres;

    const SPELLING: Spelling = Spelling {
        question_marks: false,
        writes_what_is_named: false,
        earlier: "LEAST",
        // A row that somebody writes to at the moment is alive: it is left for another time.
        advance: "UPDATE secure_sessions SET purge_at = due_at WHERE id = ANY(ARRAY(SELECT id FROM secure_sessions \
                  WHERE purge_at <= $1 AND due_at > $2 ORDER BY purge_at LIMIT $3 FOR UPDATE SKIP LOCKED))",
        // An array is made once; a subquery could be run again for other rows, and so exceed the limit.
        purge: "DELETE FROM secure_sessions WHERE due_at <= $2 AND id = ANY(ARRAY(SELECT id FROM secure_sessions \
                WHERE purge_at <= $1 AND due_at <= $2 ORDER BY purge_at LIMIT $3 FOR UPDATE SKIP LOCKED))",
        purge_waiting: Some(
            "DELETE FROM secure_sessions WHERE due_at <= $2 AND id = ANY(ARRAY(SELECT id FROM secure_sessions \
             WHERE purge_at <= $1 AND due_at <= $2 ORDER BY purge_at LIMIT $3 FOR UPDATE))",
        ),
        // This lock does not block readers.
        lock: Some("LOCK TABLE secure_sessions IN SHARE ROW EXCLUSIVE MODE"),
        now: Some("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
    };
    const MIGRATIONS: &'static [&'static str] = &[include_str!("../../migrations/postgres/0001_sessions.sql")];
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL READ COMMITTED";

    /// Sets up a new connection.
    ///
    /// - Acknowledged writes must be on disk, so `synchronous_commit` is not `off`.
    /// - The server gives up a statement when its client does, and a transaction whose client is gone, unless other times are
    ///   set.
    /// - A standby is refused: it may lag behind acknowledged writes. After a failover, a name can lead to one for a moment.
    async fn prepare(connection: &mut PgConnection, timeout: Duration) -> Result<(), Error> {
        let millis = timeout.as_millis().clamp(1, 2_147_483_647);
        let unless_set = |setting| {
            format!("CASE WHEN current_setting('{setting}') = '0' THEN set_config('{setting}', '{millis}', false) END")
        };
        let statement = format!(
            "SELECT pg_is_in_recovery(), {}, {}, CASE WHEN current_setting('synchronous_commit') = 'off' \
             THEN set_config('synchronous_commit', 'on', false) END",
            unless_set("statement_timeout"),
            unless_set("idle_in_transaction_session_timeout"),
        );
        let row = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_one(connection).await?;
        if sqlx::Row::try_get(&row, 0)? {
            // It may be promoted, or the name may lead to another server soon.
            return Err(Error::Io(std::io::Error::other(
                "the server is a standby, which may lag behind: connect to the primary",
            )));
        }
        Ok(())
    }

    /// Sorts errors by SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn meaning(error: &(dyn DatabaseError + 'static)) -> Meaning {
        match &*error.code().unwrap_or_default() {
            // Serialization failure, deadlock.
            "40001" | "40P01" => Meaning::Conflict,
            // A statement that ran too long, or waited too long for a lock.
            "57014" | "55P03" => Meaning::Timeout,
            // Data or an index is damaged.
            "XX001" | "XX002" => Meaning::Corrupt,
            code => match code.get(..2).unwrap_or_default() {
                // Not supported, bad data, a violated constraint, no such user, no such database, no right or no such
                // table.
                "0A" | "22" | "23" | "28" | "3D" | "42" => Meaning::Rejected,
                // Connections, resources, shutdown, recovery, a server that became read-only.
                _ => Meaning::Unavailable,
            },
        }
    }

    async fn execute(connection: &mut PgConnection, statement: SqlStr, values: &[Value<'_>]) -> Result<u64, Error> {
        Ok(query(statement, values).execute(connection).await?.rows_affected())
    }

    async fn fetch(
        connection: &mut PgConnection,
        statement: SqlStr,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, Error> {
        query(statement, values).fetch_all(connection).await
    }

    async fn run_script(connection: &mut PgConnection, script: SqlStr) -> Result<(), Error> {
        sqlx::raw_sql(script).execute(connection).await?;
        Ok(())
    }

    /// Checks nothing: its clients commit each statement by themselves.
    async fn check(_: &mut Lease<Self>) -> Result<(), Failure> {
        Ok(())
    }

    async fn begin_migrating(mut lease: Lease<Self>, table: &str) -> Result<ServerTransaction<Self>, Failure> {
        // `IF NOT EXISTS` alone fails if two do it at the same time.
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('{table}_migrations', 0))");
        lease.run_script(AssertSqlSafe(begin).into_sql_str()).await?;
        Ok(ServerTransaction::new(lease, "COMMIT", "ROLLBACK"))
    }
}

impl Row for PgRow {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        sqlx::Row::try_get(self, column).map_err(StoreError::corrupt)
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::Row::try_get(self, column).map_err(StoreError::corrupt)
    }
}

fn query<'q>(statement: SqlStr, values: &[Value<'_>]) -> sqlx::query::Query<'q, sqlx::Postgres, PgArguments> {
    values.iter().fold(sqlx::query(statement), |query, value| match value {
        Value::Integer(number) => query.bind(*number),
        Value::Bytes(bytes) => query.bind(*bytes),
    })
}
