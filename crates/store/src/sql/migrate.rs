//! Brings a database's table to what this release expects.

use sqlx::SqlStr;

use super::DEFAULT_TABLE;
use super::columns::{integer, required};
use super::dialect::{Dialect, Row, Transaction};
use super::error::Failure;
use super::statements::text;
use crate::StoreError;

/// Applies the migrations that the database lacks: all, or none if one fails. Processes that do this at the same time wait for
/// each other. (MySQL commits each change of a table by itself, so there every migration can be run again.)
///
/// A table beside the sessions' own lists the applied versions, so that your application's migrations, with sqlx or otherwise,
/// stay apart from these. If no migration is missing, only that list is read, without the right to change tables.
pub(super) async fn migrate<D: Dialect>(dialect: &D, table: &str) -> Result<(), StoreError> {
    dialect.check().await?;
    // This fails if there is no such table yet; any other reason shows up again below.
    if let Ok(rows) = dialect.fetch(newest::<D>(table), &[]).await
        && version_of(&rows)? == D::MIGRATIONS.len() as u64
    {
        return Ok(());
    }
    let mut transaction = dialect.begin_migrating(table).await?;
    match apply::<D>(&mut transaction, table).await {
        Ok(()) => transaction.commit().await?,
        Err(failure) => {
            // The error is known already.
            let _ = transaction.roll_back().await;
            return Err(failure.into());
        }
    }
    Ok(())
}

/// Reads the newest version that was applied.
/// Returns the statements that [`migrate`] runs on an empty database, for an administrator to run instead.
pub(super) fn script<D: Dialect>(table: &str) -> String {
    let log = create_log(table);
    let steps = (1..).zip(D::MIGRATIONS).map(|(version, script): (u64, _)| {
        let script = script.replace(DEFAULT_TABLE, table);
        format!("{}\n\nINSERT INTO {table}_migrations (version) VALUES ({version});\n", script.trim_end())
    });
    std::iter::once(format!("{log};\n")).chain(steps).collect::<Vec<_>>().join("\n")
}

fn create_log(table: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {table}_migrations (version BIGINT NOT NULL PRIMARY KEY)")
}

fn newest<D: Dialect>(table: &str) -> SqlStr {
    text(&format!("SELECT COALESCE(MAX(version), 0) FROM {table}_migrations"), D::SPELLING.question_marks)
}

fn version_of(rows: &[impl Row]) -> Result<u64, StoreError> {
    rows.first().map_or(Ok(0), |row| required(row, 0))
}

async fn apply<D: Dialect>(transaction: &mut D::Transaction, table: &str) -> Result<(), Failure> {
    let text = |statement: String| text(&statement, D::SPELLING.question_marks);
    let log = format!("{table}_migrations");
    transaction.run_script(text(create_log(table))).await?;
    let applied = version_of(&transaction.fetch(newest::<D>(table), &[]).await?)?;
    let known = D::MIGRATIONS.len() as u64;
    if applied > known {
        return Err(StoreError::rejected(format!(
            "the table {table} has version {applied}, and this release knows versions up to {known}: \
             it was written by a newer release"
        ))
        .into());
    }
    for (version, script) in (1..).zip(D::MIGRATIONS).filter(|(version, _)| *version > applied) {
        transaction.run_script(text(script.replace(DEFAULT_TABLE, table))).await?;
        let note = text(format!("INSERT INTO {log} (version) VALUES ($1)"));
        transaction.execute(note, &[integer(version)]).await?;
    }
    Ok(())
}
