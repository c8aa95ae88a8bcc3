//! Every statement's text, but for the migrations. Parameters are numbered in the order of their use, each used once.

use std::fmt::Write;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::DEFAULT_TABLE;
use super::dialect::Spelling;

/// The columns that `load` and `list` read, in the order that [`columns`](super::columns) expects.
const READ: &str = "id, revision, subject, label, created_at, last_seen_at, expires_at, idle_timeout, rotated_at, \
                    generation, fingerprint, retired, handoff, ended_at, successor";

/// The statements for one table.
///
/// Only the table's name, which is checked when a store is opened, and numbers become part of a text; data from a request
/// never does.
#[derive(Clone)]
pub(super) struct Statements {
    table: String,
    question_marks: bool,
    pub(super) insert: SqlStr,
    pub(super) load: SqlStr,
    pub(super) replace: SqlStr,
    /// The statement for an unchanged subject, and a deadline that is no earlier: no index then needs a write. Tried first where
    /// that saves work.
    pub(super) replace_of_subject: Option<SqlStr>,
    pub(super) bury_revision: SqlStr,
    pub(super) bury: SqlStr,
    pub(super) remove: SqlStr,
    pub(super) count: SqlStr,
    pub(super) advance: SqlStr,
    pub(super) purge: SqlStr,
    pub(super) purge_waiting: Option<SqlStr>,
    pub(super) lock: Option<SqlStr>,
    pub(super) now: Option<SqlStr>,
}

impl Statements {
    pub(super) fn new(table: &str, spelling: Spelling) -> Self {
        let text = |statement: String| text(&statement, spelling.question_marks);
        let spelt = |statement: &str| text(statement.replace(DEFAULT_TABLE, table));
        let tombstone = "revision = NULL, subject = NULL, label = NULL, created_at = NULL, last_seen_at = NULL, \
                         idle_timeout = NULL, rotated_at = NULL, generation = NULL, fingerprint = NULL, \
                         retired = NULL, handoff = NULL, ended_at = $1, expires_at = $2, due_at = $3, \
                         purge_at = EARLIER(purge_at, $4), successor = $5";
        let tombstone = tombstone.replace("EARLIER", spelling.earlier);
        let earlier = spelling.earlier;
        Self {
            table: table.into(),
            question_marks: spelling.question_marks,
            // Parameters: those of `columns::values`, then the id.
            insert: text(format!(
                "INSERT INTO {table} (revision, subject, label, created_at, last_seen_at, expires_at, idle_timeout, \
                 rotated_at, generation, fingerprint, retired, handoff, due_at, purge_at, id) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
            )),
            load: text(format!("SELECT {READ} FROM {table} WHERE id = $1")),
            replace_of_subject: spelling.writes_what_is_named.then(|| {
                text(format!(
                    "UPDATE {table} SET revision = $1, label = $3, created_at = $4, last_seen_at = $5, expires_at = $6, \
                     idle_timeout = $7, rotated_at = $8, generation = $9, fingerprint = $10, retired = $11, \
                     handoff = $12, due_at = $13 \
                     WHERE id = $15 AND revision = $16 AND subject IS $2 AND purge_at <= $14"
                ))
            }),
            // A tombstone has no revision, so it equals none.
            replace: text(format!(
                "UPDATE {table} SET revision = $1, subject = $2, label = $3, created_at = $4, last_seen_at = $5, \
                 expires_at = $6, idle_timeout = $7, rotated_at = $8, generation = $9, fingerprint = $10, \
                 retired = $11, handoff = $12, due_at = $13, purge_at = {earlier}(purge_at, $14) \
                 WHERE id = $15 AND revision = $16"
            )),
            bury_revision: text(format!("UPDATE {table} SET {tombstone} WHERE id = $6 AND revision = $7")),
            bury: text(format!("UPDATE {table} SET {tombstone} WHERE id = $6 AND ended_at IS NULL")),
            remove: text(format!("DELETE FROM {table} WHERE id = $1 AND ended_at IS NULL")),
            count: text(format!("SELECT COUNT(*) FROM {table} WHERE ended_at IS NULL")),
            advance: spelt(spelling.advance),
            purge: spelt(spelling.purge),
            purge_waiting: spelling.purge_waiting.map(spelt),
            lock: spelling.lock.map(spelt),
            now: spelling.now.map(spelt),
        }
    }

    /// Returns the statement that lists a page. Parameters: the subjects, the id to begin after, the limit.
    pub(super) fn list(&self, subjects: usize) -> SqlStr {
        let (places, next) = places(subjects);
        let (table, limit) = (&self.table, next + 1);
        self.text(format!(
            "SELECT {READ} FROM {table} WHERE subject IN ({places}) AND id > ${next} ORDER BY id LIMIT ${limit}"
        ))
    }

    /// Returns the statement that finds the ids of these subjects' buckets. Parameters: the subjects, the exception, the limit.
    pub(super) fn ids_of(&self, subjects: usize) -> SqlStr {
        let (places, next) = places(subjects);
        let (table, limit) = (&self.table, next + 1);
        self.text(format!("SELECT id FROM {table} WHERE subject IN ({places}) AND id <> ${next} LIMIT ${limit}"))
    }

    /// Returns the statement that finds the ids of all buckets. Parameters: the exception, the limit.
    pub(super) fn ids(&self) -> SqlStr {
        self.text(format!("SELECT id FROM {} WHERE ended_at IS NULL AND id <> $1 LIMIT $2", self.table))
    }

    /// Returns the statement that deletes buckets. Parameters: their ids.
    pub(super) fn remove_these(&self, ids: usize) -> SqlStr {
        self.text(format!("DELETE FROM {} WHERE ended_at IS NULL AND id IN ({})", self.table, places(ids).0))
    }

    fn text(&self, statement: impl AsRef<str>) -> SqlStr {
        text(statement.as_ref(), self.question_marks)
    }
}

/// Returns `count` parameters, `$1, $2, ...`, and the number after the last.
fn places(count: usize) -> (String, usize) {
    let mut places = String::new();
    for number in 1..=count {
        let separator = if number == 1 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(places, "{separator}${number}");
    }
    (places, count + 1)
}

/// Returns the statement as this database spells it.
pub(super) fn text(statement: &str, question_marks: bool) -> SqlStr {
    let statement = if question_marks { with_question_marks(statement) } else { statement.to_owned() };
    AssertSqlSafe(statement).into_sql_str()
}

/// Replaces every `$1` by `?`.
fn with_question_marks(statement: &str) -> String {
    let mut pieces = statement.split('$');
    let mut spelt = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        spelt.push('?');
        spelt.push_str(piece.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_numbered_parameter_becomes_a_question_mark() {
        assert_eq!(with_question_marks("a = $1 AND b IN ($2, $10) LIMIT $11"), "a = ? AND b IN (?, ?) LIMIT ?");
        assert_eq!(with_question_marks("no parameters"), "no parameters");
    }
}
