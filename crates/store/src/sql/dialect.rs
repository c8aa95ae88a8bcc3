//! The differences between databases. Everything else is written once, in `table`.

use std::future::Future;

use sqlx::SqlStr;

use super::error::Failure;
use crate::StoreError;

/// A parameter of a statement.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Integer(Option<i64>),
    Bytes(Option<&'a [u8]>),
}

/// A row of a result.
pub(super) trait Row: Send {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError>;
    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError>;
}

/// The spelling of the statements that differ between databases. In each, the default table's name stands for the configured
/// one.
#[derive(Clone, Copy)]
pub(super) struct Spelling {
    /// Set to `true` if parameters are `?` and not `$1`.
    pub(super) question_marks: bool,
    /// Set to `true` if an update writes an index's page as soon as it names a column of it, even with an equal value.
    pub(super) writes_what_is_named: bool,
    /// The function that returns the smaller one of two numbers.
    pub(super) earlier: &'static str,
    /// The statement that moves the purge's date of entries that are not due yet, as far as it has come, to their deadline.
    /// Parameters: now, now, the most to move.
    pub(super) advance: &'static str,
    /// The statement that deletes entries that are due, the oldest first, and checks the deadline again. Parameters: now, now,
    /// the most to delete.
    pub(super) purge: &'static str,
    /// If that statement leaves out rows that others have locked, the one that waits for them.
    pub(super) purge_waiting: Option<&'static str>,
    /// The end of an insertion of blobs: one that is there already keeps its value, and the later of both deadlines.
    pub(super) or_else: &'static str,
    /// The statement that deletes blobs that are due, the oldest first, and checks the deadline again. Parameters: now, now, the
    /// most to delete.
    pub(super) purge_vault: &'static str,
    /// The rows that one purging statement looks for: it keeps other writers waiting for as long as it runs.
    pub(super) purge_batch: u64,
    /// Set to `true` if every writer waits for a purging statement: after each, the purge rests for as long as it took.
    pub(super) rests: bool,
    /// The statement, if there is one, that keeps all others from writing to the table until the transaction ends.
    pub(super) lock: Option<&'static str>,
    /// The query for the server's time in milliseconds, if it has a clock of its own.
    pub(super) now: Option<&'static str>,
}

/// A statement after a migration that makes the tables faster or smaller. A database that does not know it may refuse it.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL has any"))]
pub(super) struct Tuning {
    /// The version of the migration.
    pub(super) after: u64,
    /// In it, the default table's name stands for the configured one.
    pub(super) statement: &'static str,
}

/// A database, with its pool of connections.
pub(super) trait Dialect: Send + Sync + 'static {
    type Row: Row;
    type Transaction: Transaction<Row = Self::Row>;

    const SPELLING: Spelling;

    /// The steps that lead from an empty database to the newest table, in their order. In each, the default table's
    /// name stands for the configured one.
    const MIGRATIONS: &'static [&'static str];
    /// The statements that follow a migration, and only make the tables faster or smaller.
    const TUNING: &'static [Tuning];
    /// Set to `true` if a transaction can take back changes of tables.
    const TAKES_TABLES_BACK: bool;

    /// Refuses connections with settings that break the contract.
    fn check(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Runs one statement in a transaction of its own; returns the number of rows that it changed.
    fn execute(&self, statement: SqlStr, values: &[Value<'_>]) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Reads the rows that were committed when the statement began.
    fn fetch(
        &self,
        statement: SqlStr,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, Failure>> + Send;

    /// Begins a transaction that will write. Dropped without [`Transaction::commit`], it is rolled back.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction, Failure>> + Send;

    /// Begins a migration of this table. On an error it is rolled back, if the database can take back changes of tables;
    /// otherwise other processes that want to migrate wait for its end, and a migration may run again over a part of itself.
    fn begin_migrating(&self, table: &str) -> impl Future<Output = Result<Self::Transaction, Failure>> + Send;

    /// Closes all connections, once they are done. Every later call returns an error.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A transaction, in which every statement sees what is committed at its own beginning, or later.
pub(super) trait Transaction: Send {
    type Row: Row;

    /// Runs a statement, and returns the number of rows that it changed.
    fn execute(&mut self, statement: SqlStr, values: &[Value<'_>])
    -> impl Future<Output = Result<u64, Failure>> + Send;

    fn fetch(
        &mut self,
        statement: SqlStr,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, Failure>> + Send;

    /// Runs the statements of a script, which has no parameters.
    fn run_script(&mut self, script: SqlStr) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Runs a statement that the database may refuse: then nothing of it has happened, and the transaction goes on.
    fn try_script(&mut self, script: SqlStr) -> impl Future<Output = Result<(), Failure>> + Send;

    fn commit(self) -> impl Future<Output = Result<(), Failure>> + Send;

    fn roll_back(self) -> impl Future<Output = Result<(), Failure>> + Send;
}
