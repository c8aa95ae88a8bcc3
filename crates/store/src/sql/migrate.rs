//! Brings a database's table to what this release expects.

use sqlx::SqlStr;

use super::DEFAULT_TABLE;
use super::columns::{integer, required};
use super::dialect::{Dialect, Row, Transaction, Tuning};
use super::error::Failure;
use super::statements::text;
use crate::StoreError;

/// The number of times that one process lets others migrate first.
const MOST_TRIES: u32 = 10;

/// Applies the migrations that the database lacks: all, or none if one fails. Processes that do this at the same time wait for
/// each other: where a transaction can take a table back, by the row that notes a migration, which is written before it, so that
/// it needs no lock of a server's own. (MySQL commits each change of a table by itself, so there every migration can be run
/// again, and its row comes after it.)
///
/// A table beside the sessions' own lists the applied versions, so that your application's migrations, with sqlx or otherwise,
/// stay apart from these. If no migration is missing, only that list is read, without the right to change tables. If one is, and
/// the store must not change tables, the error says which SQL is missing.
pub(super) async fn migrate<D: Dialect>(dialect: &D, table: &str, may_change: bool) -> Result<(), StoreError> {
    dialect.check().await?;
    for _ in 0..MOST_TRIES {
        let applied = match newest_version(dialect, table).await {
            Ok(applied) => applied,
            // There is no such table yet, or no right to read it.
            Err(Failure::Store(StoreError::Rejected(cause))) if !may_change => {
                return Err(lacks::<D>(table, 0, &format!(" ({cause})")));
            }
            Err(failure) if !may_change => return Err(failure.into()),
            // Any reason but a missing table shows up again below.
            Err(_) => 0,
        };
        if applied == known::<D>() {
            return Ok(());
        }
        refuse_newer::<D>(table, applied)?;
        if !may_change {
            return Err(lacks::<D>(table, applied, ""));
        }
        let mut transaction = dialect.begin_migrating(table).await?;
        let outcome = match apply::<D>(&mut transaction, table).await {
            Ok(()) => transaction.commit().await,
            Err(failure) => {
                // The error is known already.
                let _ = transaction.roll_back().await;
                Err(failure)
            }
        };
        match outcome {
            // Another process writes the same, and goes first.
            Err(Failure::Conflict | Failure::Store(StoreError::Duplicate)) => {}
            // The same, where the database has other words for it: PostgreSQL's `IF NOT EXISTS` can find a table of whose making
            // it knew nothing a moment ago.
            Err(_) if newest_version(dialect, table).await.is_ok_and(|newest| newest > applied) => {}
            outcome => return Ok(outcome?),
        }
    }
    Err(StoreError::unavailable(format!("other processes changed the table {table} at the same time, again and again")))
}

/// The tables are not those of this release, and the store is set not to change them
/// ([`SqlOptions::migrates`](crate::SqlOptions::migrates)). It is the cause in a [`StoreError::Rejected`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error(
    "the table {table} has version {version}, this release needs {needed}, and the store is set not to change tables{cause}: let \
     a user who may change them run this SQL\n{sql}"
)]
pub struct MissingMigrations {
    /// The table of the sessions.
    pub table: String,
    /// The version that the tables have; 0 if there are none, or this user cannot see them.
    pub version: u64,
    /// The version that this release needs.
    pub needed: u64,
    /// The SQL that is missing.
    pub sql: String,
    cause: String,
}

impl MissingMigrations {
    /// Returns the database's refusal to tell the version, or `None` if it told it.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.cause.strip_prefix(" (")?.strip_suffix(')')
    }
}

fn known<D: Dialect>() -> u64 {
    D::MIGRATIONS.len() as u64
}

fn refuse_newer<D: Dialect>(table: &str, applied: u64) -> Result<(), StoreError> {
    let known = known::<D>();
    if applied <= known {
        return Ok(());
    }
    Err(StoreError::rejected(format!(
        "the table {table} has version {applied}, and this release knows versions up to {known}: it was written by a newer \
         release. Run that one; the runbook's chapter on rolling out a new version says how to go back"
    )))
}

fn lacks<D: Dialect>(table: &str, applied: u64, cause: &str) -> StoreError {
    StoreError::rejected(MissingMigrations {
        table: table.to_owned(),
        version: applied,
        needed: known::<D>(),
        sql: script::<D>(table, applied),
        cause: cause.to_owned(),
    })
}

/// Returns the statements that [`migrate`] runs on a database that has this version (an empty one: 0), for an administrator
/// to run instead.
pub(super) fn script<D: Dialect>(table: &str, applied: u64) -> String {
    let log = create_log(table);
    let steps =
        (1..).zip(D::MIGRATIONS).filter(|(version, _)| *version > applied).map(|(version, script): (u64, _)| {
            let script = script.replace(DEFAULT_TABLE, table);
            let tuning: String = tuning::<D>(version).map(|tuning| written(tuning, table)).collect();
            format!("{}\n\n{tuning}INSERT INTO {table}_migrations (version) VALUES ({version});\n", script.trim_end())
        });
    std::iter::once(format!("{log};\n")).chain(steps).collect::<Vec<_>>().join("\n")
}

/// Returns what follows this migration.
fn tuning<D: Dialect>(version: u64) -> impl Iterator<Item = &'static Tuning> {
    D::TUNING.iter().filter(move |tuning| tuning.after == version)
}

/// Writes a statement for an administrator, and what to do where it is refused.
fn written(tuning: &Tuning, table: &str) -> String {
    let statement = tuning.statement.replace(DEFAULT_TABLE, table);
    format!("-- If your database refuses this, leave it out.\n{statement};\n\n")
}

fn create_log(table: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {table}_migrations (version BIGINT NOT NULL PRIMARY KEY)")
}

/// Reads the newest version that was applied.
fn newest<D: Dialect>(table: &str) -> SqlStr {
    text(&format!("SELECT COALESCE(MAX(version), 0) FROM {table}_migrations"), D::SPELLING.question_marks)
}

async fn newest_version<D: Dialect>(dialect: &D, table: &str) -> Result<u64, Failure> {
    Ok(version_of(&dialect.fetch(newest::<D>(table), &[]).await?)?)
}

fn version_of(rows: &[impl Row]) -> Result<u64, StoreError> {
    rows.first().map_or(Ok(0), |row| required(row, 0))
}

async fn apply<D: Dialect>(transaction: &mut D::Transaction, table: &str) -> Result<(), Failure> {
    let text = |statement: String| text(&statement, D::SPELLING.question_marks);
    let log = format!("{table}_migrations");
    transaction.run_script(text(create_log(table))).await?;
    let applied = version_of(&transaction.fetch(newest::<D>(table), &[]).await?)?;
    refuse_newer::<D>(table, applied)?;
    for (version, script) in (1..).zip(D::MIGRATIONS).filter(|(version, _)| *version > applied) {
        let note = text(format!("INSERT INTO {log} (version) VALUES ($1)"));
        let script = text(script.replace(DEFAULT_TABLE, table));
        if D::TAKES_TABLES_BACK {
            transaction.execute(note, &[integer(version)]).await?;
            transaction.run_script(script).await?;
        } else {
            transaction.run_script(script).await?;
            transaction.execute(note, &[integer(version)]).await?;
        }
        for tuning in tuning::<D>(version) {
            transaction.try_script(text(tuning.statement.replace(DEFAULT_TABLE, table))).await?;
        }
    }
    Ok(())
}
