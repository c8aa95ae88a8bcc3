//! What one database does its own way. All else is written once, in `table`.

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

/// How the statements of a database are spelt, where they differ. In each, the default table's name stands for the
/// configured one.
#[derive(Clone, Copy)]
pub(super) struct Spelling {
    /// Parameters are `?` and not `$1`.
    pub(super) question_marks: bool,
    /// An update writes an index's page if one of its columns is named, though it stays as it is.
    pub(super) writes_what_is_named: bool,
    /// Deletes entries that are due, the oldest first, and looks at the deadline again as it does. Parameters: now, how
    /// many.
    pub(super) purge: &'static str,
    /// If that one leaves out what others have locked: one that waits for them.
    pub(super) purge_waiting: Option<&'static str>,
    /// Where there is such a statement: lets nobody else write to the table until the transaction ends.
    pub(super) lock: Option<&'static str>,
}

/// A database, with its pool of connections.
pub(super) trait Dialect: Send + Sync + 'static {
    type Row: Row;
    type Transaction: Transaction<Row = Self::Row>;

    const SPELLING: Spelling;

    /// The steps that lead from an empty database to the newest table, in their order. In each, the default table's
    /// name stands for the configured one.
    const MIGRATIONS: &'static [&'static str];

    /// Refuses connections that would not do what is expected of them.
    fn check(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Runs one statement in a transaction of its own; returns how many rows it changed.
    fn execute(&self, statement: SqlStr, values: &[Value<'_>]) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Reads what was committed when the statement began.
    fn fetch(
        &self,
        statement: SqlStr,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, Failure>> + Send;

    /// Begins a transaction that will write. Dropped without [`Transaction::commit`], it is rolled back.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction, Failure>> + Send;

    /// Begins what migrates this table, while all other processes that want to wait. It is rolled back if the database
    /// can do that with changes of tables; where it cannot, a migration may be run again over a part of itself.
    fn begin_migrating(&self, table: &str) -> impl Future<Output = Result<Self::Transaction, Failure>> + Send;
}

/// A transaction, in which every statement sees what is committed at its own beginning, or later.
pub(super) trait Transaction: Send {
    type Row: Row;

    /// How many rows the statement changed.
    fn execute(&mut self, statement: SqlStr, values: &[Value<'_>])
    -> impl Future<Output = Result<u64, Failure>> + Send;

    fn fetch(
        &mut self,
        statement: SqlStr,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, Failure>> + Send;

    /// Runs the statements of a script, which has no parameters.
    fn run_script(&mut self, script: SqlStr) -> impl Future<Output = Result<(), Failure>> + Send;

    fn commit(self) -> impl Future<Output = Result<(), Failure>> + Send;

    fn roll_back(self) -> impl Future<Output = Result<(), Failure>> + Send;
}
