//! Brings a database's table to what this release expects.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::DEFAULT_TABLE;
use super::columns::{integer, required};
use super::dialect::{Dialect, Transaction};
use crate::StoreError;

/// Applies the migrations that the database has not got yet: all, or none if one fails. Processes that do this at the
/// same time wait for each other.
///
/// The applied versions stand in a table beside the sessions' own, so that an application's migrations, with sqlx
/// or otherwise, stay apart from these.
pub(super) async fn migrate<D: Dialect>(dialect: &D, table: &str) -> Result<(), StoreError> {
    let mut transaction = dialect.begin().await?;
    match apply::<D>(&mut transaction, table).await {
        Ok(()) => transaction.commit().await,
        Err(error) => {
            // What is wrong is known already.
            let _ = transaction.roll_back().await;
            Err(error)
        }
    }
}

async fn apply<D: Dialect>(transaction: &mut D::Transaction, table: &str) -> Result<(), StoreError> {
    let log = format!("{table}_migrations");
    let create = format!("CREATE TABLE IF NOT EXISTS {log} (version BIGINT NOT NULL PRIMARY KEY)");
    transaction.run_script(text(create)).await?;
    let newest = text(format!("SELECT COALESCE(MAX(version), 0) FROM {log}"));
    let applied = match transaction.fetch(newest, &[]).await?.first() {
        Some(row) => required(row, 0)?,
        None => 0,
    };
    let known = D::MIGRATIONS.len() as u64;
    if applied > known {
        return Err(StoreError::rejected(format!(
            "the table {table} has version {applied}, and this release knows versions up to {known}: \
             it was written by a newer release"
        )));
    }
    for (version, script) in (1..).zip(D::MIGRATIONS).filter(|(version, _)| *version > applied) {
        transaction.run_script(text(script.replace(DEFAULT_TABLE, table))).await?;
        let note = text(format!("INSERT INTO {log} (version) VALUES ($1)"));
        transaction.execute(note, &[integer(version)]).await?;
    }
    Ok(())
}

fn text(statement: String) -> SqlStr {
    AssertSqlSafe(statement).into_sql_str()
}
