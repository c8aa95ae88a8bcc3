//! What one database does its own way. All else is written once, in `table`.

use std::future::Future;

use sqlx::SqlStr;

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

/// A database, with its pool of connections.
pub(super) trait Dialect: Send + Sync + 'static {
    type Row: Row;
    type Transaction: Transaction<Row = Self::Row>;

    /// The steps that lead from an empty database to the newest table, in their order. In each, the default table's
    /// name stands for the configured one.
    const MIGRATIONS: &'static [&'static str];

    /// Runs one statement in a transaction of its own; returns how many rows it changed.
    fn execute(&self, statement: SqlStr, values: &[Value<'_>]) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Reads what was committed when the statement began.
    fn fetch(
        &self,
        statement: SqlStr,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;

    /// Begins a transaction that will write. Dropped without [`Transaction::commit`], it is rolled back.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction, StoreError>> + Send;
}

/// A transaction, in which every statement sees what is committed at its own beginning, or later.
pub(super) trait Transaction: Send {
    type Row: Row;

    /// How many rows the statement changed.
    fn execute(
        &mut self,
        statement: SqlStr,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    fn fetch(
        &mut self,
        statement: SqlStr,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;

    /// Runs the statements of a script, which has no parameters.
    fn run_script(&mut self, script: SqlStr) -> impl Future<Output = Result<(), StoreError>> + Send;

    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;

    fn roll_back(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
