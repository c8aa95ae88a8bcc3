//! PostgreSQL.

use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgRow};
use sqlx::{AssertSqlSafe, Error, SqlSafeStr, SqlStr};
use tokio::time::timeout;

use super::dialect::{Row, Spelling, Tuning, Value};
use super::error::{Failure, Meaning};
use super::server::{Engine, Lease, ServerTransaction, settings};
use crate::StoreError;

/// The longest wait for a turn at a connection that a pooler shares.
const LONGEST_TURN: Duration = Duration::from_secs(1);

/// Begins a migration. CockroachDB changes no table in a transaction that is less than serializable, and, unless this setting
/// of its own is off, commits before each such change; PostgreSQL minds neither.
const BEGIN_MIGRATING: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; \
                               SELECT set_config(name, 'off', true) FROM pg_settings WHERE name = 'autocommit_before_ddl'";

/// PostgreSQL.
pub(super) struct Postgres;

/// Returns the pool of a store's own.
pub(super) fn pool(url: &str, max_connections: u32, timeout: Duration) -> Result<PgPool, StoreError> {
    // No column is a fraction; and a pooler may not know this parameter.
    let options = PgConnectOptions::from_str(url).map_err(StoreError::rejected)?;
    let mut options = options.extra_float_digits(None);
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
        or_else: "ON CONFLICT (vault, id) DO UPDATE \
                  SET purge_at = GREATEST(secure_sessions_vault.purge_at, excluded.purge_at)",
        // It is found once, as the array above.
        purge_vault: "WITH due AS MATERIALIZED (SELECT vault, id FROM secure_sessions_vault WHERE purge_at <= $1 \
                      ORDER BY purge_at LIMIT $3 FOR UPDATE) \
                      DELETE FROM secure_sessions_vault AS kept USING due \
                      WHERE kept.vault = due.vault AND kept.id = due.id AND kept.purge_at <= $2",
        purge_batch: 1000,
        rests: false,
        // This lock does not block readers.
        lock: Some("LOCK TABLE secure_sessions IN SHARE ROW EXCLUSIVE MODE"),
        now: Some("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
    };
    const MIGRATIONS: &'static [&'static str] = &[
        include_str!("../../migrations/postgres/0001_sessions.sql"),
        include_str!("../../migrations/postgres/0002_not_before.sql"),
        include_str!("../../migrations/postgres/0003_vault.sql"),
    ];
    const TUNING: &'static [Tuning] = &[
        // Room for the next version of a row beside it.
        Tuning { after: 1, statement: "ALTER TABLE secure_sessions SET (fillfactor = 85)" },
        // Compression does not make sealed data smaller.
        Tuning { after: 1, statement: "ALTER TABLE secure_sessions ALTER COLUMN label SET STORAGE EXTERNAL" },
        Tuning { after: 1, statement: "ALTER TABLE secure_sessions ALTER COLUMN handoff SET STORAGE EXTERNAL" },
        Tuning { after: 3, statement: "ALTER TABLE secure_sessions_vault ALTER COLUMN value SET STORAGE EXTERNAL" },
    ];
    const TAKES_TABLES_BACK: bool = true;
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL READ COMMITTED";
    const COMMIT: &'static str = "COMMIT";
    const ROLL_BACK: &'static str = "ROLLBACK";
    const MAY_BE_SHARED: bool = true;

    /// Sets up a new connection.
    ///
    /// - Acknowledged writes must be on disk, so `synchronous_commit` is not `off`.
    /// - The server gives up a statement when its client does, and a transaction whose client is gone, unless other times are
    ///   set.
    /// - A standby is refused: it may lag behind acknowledged writes. After a failover, a name can lead to one for a moment.
    ///
    /// Through a pooler, nothing is set: others share the server's connections. Then `off` is refused.
    ///
    /// Without one, the connection is nobody else's, and what it prepares has names of the driver's. A pooler in session mode
    /// that is set not to reset its connections leaves such names of an earlier client behind: they are removed.
    async fn prepare(connection: &mut PgConnection, timeout: Duration, is_shared: bool) -> Result<(), Error> {
        if is_shared {
            let statement = "SELECT pg_is_in_recovery(), current_setting('synchronous_commit') = 'off'";
            let row = sqlx::raw_sql(statement).fetch_one(connection).await?;
            if sqlx::Row::try_get(&row, 1)? {
                return Err(Error::Configuration(
                    "`synchronous_commit` is off, and cannot be turned on through a pooler: turn it on for the user"
                        .into(),
                ));
            }
            return refuse_standby(&row);
        }
        let millis = timeout.as_millis().clamp(1, 2_147_483_647);
        let unless_set = |setting| {
            format!("CASE WHEN current_setting('{setting}') = '0' THEN set_config('{setting}', '{millis}', false) END")
        };
        let statement = format!(
            "DEALLOCATE ALL; SELECT pg_is_in_recovery(), {}, {}, CASE WHEN current_setting('synchronous_commit') = 'off' \
             THEN set_config('synchronous_commit', 'on', false) END",
            unless_set("statement_timeout"),
            unless_set("idle_in_transaction_session_timeout"),
        );
        let row = sqlx::raw_sql(AssertSqlSafe(statement)).fetch_one(connection).await?;
        refuse_standby(&row)
    }

    /// Compares the server's processes. A pooler that shares them gives both connections the same one, or gives one another
    /// process while the other is in a transaction, or, if it has a single one, does not answer.
    async fn is_shared(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, Error> {
        const PROCESS: &str = "SELECT pg_backend_pid()";
        let process = |row: &PgRow| sqlx::Row::try_get::<i32, _>(row, 0);
        let mut known = None;
        // Some poolers take their connections in turns: twice shows it.
        for _ in 0..2 {
            let before = process(&sqlx::raw_sql(PROCESS).fetch_one(&mut *one).await?)?;
            sqlx::raw_sql("BEGIN").execute(&mut *other).await?;
            let others = process(&sqlx::raw_sql(PROCESS).fetch_one(&mut *other).await?)?;
            let after = timeout(LONGEST_TURN, sqlx::raw_sql(PROCESS).fetch_one(&mut *one)).await;
            sqlx::raw_sql("ROLLBACK").execute(&mut *other).await?;
            let Ok(after) = after else { return Ok(true) };
            let after = process(&after?)?;
            if before == others || before != after || known.is_some_and(|known| known != before) {
                return Ok(true);
            }
            known = Some(before);
        }
        Ok(false)
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

    async fn execute(
        connection: &mut PgConnection,
        statement: SqlStr,
        values: &[Value<'_>],
        is_shared: bool,
    ) -> Result<u64, Error> {
        if is_shared {
            return Ok(sqlx::raw_sql(spelled_out(&statement, values)).execute(connection).await?.rows_affected());
        }
        Ok(query(statement, values).execute(connection).await?.rows_affected())
    }

    async fn fetch(
        connection: &mut PgConnection,
        statement: SqlStr,
        values: &[Value<'_>],
        is_shared: bool,
    ) -> Result<Vec<PgRow>, Error> {
        if is_shared {
            return sqlx::raw_sql(spelled_out(&statement, values)).fetch_all(connection).await;
        }
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

    async fn begin_migrating(mut lease: Lease<Self>, _: &str) -> Result<ServerTransaction<Self>, Failure> {
        lease.run_script(BEGIN_MIGRATING.into_sql_str()).await?;
        Ok(ServerTransaction::new(lease, Self::COMMIT, Self::ROLL_BACK))
    }
}

fn refuse_standby(row: &PgRow) -> Result<(), Error> {
    if sqlx::Row::try_get(row, 0)? {
        // It may be promoted, or the name may lead to another server soon.
        let why = "the server is a standby, which may lag behind: connect to the primary";
        return Err(Error::Io(std::io::Error::other(why)));
    }
    Ok(())
}

/// Returns the statement with its values in place of their numbers, to be sent without preparing it: a prepared statement stays
/// on the server's connection, and another client of a pooler may have one of the same name there. Values are numbers, and
/// bytes in hexadecimal.
fn spelled_out(statement: &SqlStr, values: &[Value<'_>]) -> SqlStr {
    let mut pieces = statement.as_str().split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let number = piece[..piece.len() - rest.len()].parse::<usize>().ok();
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        // Writing to a string cannot fail.
        let _ = match value {
            Some(Value::Integer(Some(number))) => write!(text, "CAST('{number}' AS BIGINT)"),
            Some(Value::Integer(None)) => write!(text, "CAST(NULL AS BIGINT)"),
            Some(Value::Bytes(Some(bytes))) => {
                text.push_str("decode('");
                for byte in *bytes {
                    let _ = write!(text, "{byte:02x}");
                }
                write!(text, "', 'hex')")
            }
            Some(Value::Bytes(None)) => write!(text, "CAST(NULL AS BYTEA)"),
            None => write!(text, "${piece}"),
        };
        text.push_str(if value.is_some() { rest } else { "" });
    }
    AssertSqlSafe(text).into_sql_str()
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
