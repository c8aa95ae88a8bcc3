//! MySQL and MariaDB.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPool, MySqlRow};
use sqlx::{AssertSqlSafe, Error, SqlSafeStr, SqlStr};

use super::dialect::{Row, Spelling, Value};
use super::error::{Failure, Meaning};
use super::server::{Engine, Lease, ServerTransaction, settings};
use crate::StoreError;

/// MySQL or MariaDB. An `UPDATE` counts the rows that it matched, even if nothing changed: the driver asks for that on every
/// connection (`CLIENT_FOUND_ROWS`).
pub(super) struct MySql;

/// Returns the pool of a store's own.
pub(super) fn pool(url: &str, max_connections: u32, timeout: Duration) -> Result<MySqlPool, StoreError> {
    let options = MySqlConnectOptions::from_str(url).map_err(StoreError::rejected)?;
    Ok(settings(options, max_connections, timeout))
}

impl Engine for MySql {
    type Database = sqlx::MySql;

    const SPELLING: Spelling = Spelling {
        question_marks: true,
        writes_what_is_named: false,
        earlier: "LEAST",
        // It cannot read the table that it writes to in a subquery, and need not.
        advance: "UPDATE secure_sessions SET purge_at = due_at WHERE purge_at <= $1 AND due_at > $2 \
                  ORDER BY purge_at LIMIT $3",
        purge: "DELETE FROM secure_sessions WHERE purge_at <= $1 AND due_at <= $2 ORDER BY purge_at LIMIT $3",
        purge_waiting: None,
        or_else: "ON DUPLICATE KEY UPDATE purge_at = GREATEST(purge_at, VALUES(purge_at))",
        purge_vault: "DELETE FROM secure_sessions_vault WHERE purge_at <= $1 AND purge_at <= $2 ORDER BY purge_at LIMIT $3",
        purge_batch: 1000,
        rests: false,
        // Its own would need a right of its own, and end the transaction.
        lock: None,
        // `UNIX_TIMESTAMP` would drop the milliseconds, or with an argument read a local time, which may be ambiguous.
        now: Some("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"),
    };
    const MIGRATIONS: &'static [&'static str] = &[
        include_str!("../../migrations/mysql/0001_sessions.sql"),
        include_str!("../../migrations/mysql/0002_not_before.sql"),
        include_str!("../../migrations/mysql/0003_vault.sql"),
    ];
    const TAKES_TABLES_BACK: bool = false;
    const BEGIN: &'static str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";
    // With `completion_type` CHAIN a plain one would begin another transaction, which nobody commits.
    const COMMIT: &'static str = "COMMIT AND NO CHAIN NO RELEASE";
    const ROLL_BACK: &'static str = "ROLLBACK AND NO CHAIN NO RELEASE";
    // Its poolers keep a connection with settings or prepared statements for one client.
    const MAY_BE_SHARED: bool = false;

    /// Sets up a new connection: every statement commits by itself, sees committed rows, and locks no gaps between rows. The server
    /// gives a statement up when its client does (MySQL can do this only for the wait for a lock).
    async fn prepare(connection: &mut MySqlConnection, timeout: Duration, _: bool) -> Result<(), Error> {
        let seconds = timeout.as_millis().div_ceil(1000).clamp(1, 1_000_000);
        let script = format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET SESSION autocommit = 1, innodb_lock_wait_timeout = {seconds} /*M! , max_statement_time = {seconds} */"
        );
        sqlx::raw_sql(AssertSqlSafe(script)).execute(connection).await?;
        Ok(())
    }

    async fn is_shared(_: &mut MySqlConnection, _: &mut MySqlConnection) -> Result<bool, Error> {
        Ok(false)
    }

    /// Sorts errors by number: <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html> and
    /// <https://mariadb.com/kb/en/mariadb-error-code-reference/>
    fn meaning(error: &(dyn DatabaseError + 'static)) -> Meaning {
        let number = error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
        match number {
            // Deadlock, a row that changed since the snapshot, rolled back at commit by the group.
            1213 | 1020 | 3101 => Meaning::Conflict,
            // A wait for a lock, a statement that ran too long (MariaDB, MySQL).
            1205 | 1969 | 3024 => Meaning::Timeout,
            // Limits of a user, although their SQLSTATE is that of a missing right.
            1203 | 1226 => Meaning::Unavailable,
            // A value of the wrong type, a violated check, a mode of the binary log that forbids READ COMMITTED.
            1366 | 1665 | 3819 => Meaning::Rejected,
            _ => match error.code().unwrap_or_default().get(..2).unwrap_or_default() {
                // Not supported, bad data, a violated constraint, no such user, no right or no such table.
                "0A" | "21" | "22" | "23" | "28" | "42" => Meaning::Rejected,
                // Connections, resources, shutdown, a full disk, a server that became read-only.
                _ => Meaning::Unavailable,
            },
        }
    }

    async fn execute(
        connection: &mut MySqlConnection,
        statement: SqlStr,
        values: &[Value<'_>],
        _: bool,
    ) -> Result<u64, Error> {
        Ok(query(statement, values).execute(connection).await?.rows_affected())
    }

    async fn fetch(
        connection: &mut MySqlConnection,
        statement: SqlStr,
        values: &[Value<'_>],
        _: bool,
    ) -> Result<Vec<MySqlRow>, Error> {
        query(statement, values).fetch_all(connection).await
    }

    async fn run_script(connection: &mut MySqlConnection, script: SqlStr) -> Result<(), Error> {
        sqlx::raw_sql(script).execute(connection).await?;
        Ok(())
    }

    /// Checks `autocommit`: an uncommitted statement would be lost, and a read would see the past. Checks `read_only`, which
    /// is set on a replica: it may lag behind its primary. (Newer servers name its values.)
    async fn check(lease: &mut Lease<Self>) -> Result<(), Failure> {
        if number(&lease.fetch("SELECT @@autocommit".into_sql_str(), &[]).await?)? != Some(1) {
            return Err(StoreError::rejected("`autocommit` is off in the connections of this pool").into());
        }
        let read_only = "SELECT CAST(CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') AS SIGNED)";
        if number(&lease.fetch(read_only.into_sql_str(), &[]).await?)? != Some(0) {
            return Err(StoreError::rejected(
                "the server is read-only (`read_only`), as a replica is: connect to the primary",
            )
            .into());
        }
        Ok(())
    }

    /// Takes a named lock in place of a transaction, which every change of a table would end.
    async fn begin_migrating(mut lease: Lease<Self>, table: &str) -> Result<ServerTransaction<Self>, Failure> {
        let seconds = lease.timeout().as_secs();
        let lock = format!("SELECT GET_LOCK('{table}_migrations', {seconds})");
        if number(&lease.fetch(AssertSqlSafe(lock).into_sql_str(), &[]).await?)? != Some(1) {
            return Err(StoreError::Timeout.into());
        }
        let unlock = format!("DO RELEASE_LOCK('{table}_migrations')");
        Ok(ServerTransaction::new(lease, unlock.clone(), unlock))
    }
}

/// The answer to a query for one number.
fn number(rows: &[MySqlRow]) -> Result<Option<i64>, StoreError> {
    rows.first().map_or(Ok(None), |row| row.integer(0))
}

impl Row for MySqlRow {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        sqlx::Row::try_get(self, column).map_err(StoreError::corrupt)
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::Row::try_get(self, column).map_err(StoreError::corrupt)
    }
}

fn query<'q>(statement: SqlStr, values: &[Value<'_>]) -> sqlx::query::Query<'q, sqlx::MySql, MySqlArguments> {
    values.iter().fold(sqlx::query(statement), |query, value| match value {
        Value::Integer(number) => query.bind(*number),
        Value::Bytes(bytes) => query.bind(*bytes),
    })
}
