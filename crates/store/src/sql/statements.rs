//! Every statement's text, but for the migrations. Parameters are numbered in the order of their use, each used once.

use std::fmt::Write;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::DEFAULT_TABLE;
use super::dialect::Spelling;

/// The columns that `load` and `list` read, in the order that [`columns`](super::columns) expects.
const READ: &str = "id, revision, subject, label, created_at, last_seen_at, expires_at, idle_timeout, rotated_at, \
                    generation, fingerprint, retired, handoff, ended_at, successor, vault, group_tag";

/// The columns of a lifespan, in the order that [`columns`](super::columns) expects.
const LIFESPAN: &str = "id, created_at, last_seen_at, expires_at, idle_timeout";

/// The statements for one table.
///
/// Only the table's name, which is checked when a store is opened, and numbers become part of a text; data from a request
/// never does.
#[derive(Clone)]
pub(super) struct Statements {
    table: String,
    question_marks: bool,
    or_else: &'static str,
    pub(super) insert: SqlStr,
    pub(super) load: SqlStr,
    pub(super) replace: SqlStr,
    /// The statement for an unchanged subject and group, and a deadline that is no earlier: no index then needs a write. Tried first where
    /// that saves work.
    pub(super) replace_in_place: Option<SqlStr>,
    pub(super) bury_revision: SqlStr,
    pub(super) bury: SqlStr,
    pub(super) remove: SqlStr,
    pub(super) count: SqlStr,
    pub(super) advance: SqlStr,
    pub(super) purge: SqlStr,
    pub(super) purge_waiting: Option<SqlStr>,
    pub(super) purge_vault: SqlStr,
    pub(super) lock: Option<SqlStr>,
    pub(super) now: Option<SqlStr>,
}

impl Statements {
    pub(super) fn new(table: &str, spelling: Spelling) -> Self {
        let text = |statement: String| text(&statement, spelling.question_marks);
        let spelt = |statement: &str| text(statement.replace(DEFAULT_TABLE, table));
        let tombstone = "revision = NULL, subject = NULL, label = NULL, created_at = NULL, last_seen_at = NULL, \
                         idle_timeout = NULL, rotated_at = NULL, generation = NULL, fingerprint = NULL, \
                         retired = NULL, handoff = NULL, vault = NULL, group_tag = NULL, ended_at = $1, expires_at = $2, due_at = $3, \
                         purge_at = EARLIER(purge_at, $4), successor = $5";
        let tombstone = tombstone.replace("EARLIER", spelling.earlier);
        let earlier = spelling.earlier;
        Self {
            table: table.into(),
            question_marks: spelling.question_marks,
            or_else: spelling.or_else,
            // Parameters: those of `columns::values`, then the id.
            insert: text(format!(
                "INSERT INTO {table} (revision, subject, label, created_at, last_seen_at, expires_at, idle_timeout, \
                 rotated_at, generation, fingerprint, retired, handoff, vault, group_tag, due_at, purge_at, id) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
            )),
            load: text(format!("SELECT {READ} FROM {table} WHERE id = $1")),
            replace_in_place: spelling.writes_what_is_named.then(|| {
                text(format!(
                    "UPDATE {table} SET revision = $1, label = $3, created_at = $4, last_seen_at = $5, expires_at = $6, \
                     idle_timeout = $7, rotated_at = $8, generation = $9, fingerprint = $10, retired = $11, \
                     handoff = $12, vault = $13, due_at = $15 \
                     WHERE id = $17 AND revision = $18 AND subject IS $2 AND group_tag IS $14 AND purge_at <= $16"
                ))
            }),
            // A tombstone has no revision, so it equals none.
            replace: text(format!(
                "UPDATE {table} SET revision = $1, subject = $2, label = $3, created_at = $4, last_seen_at = $5, \
                 expires_at = $6, idle_timeout = $7, rotated_at = $8, generation = $9, fingerprint = $10, \
                 retired = $11, handoff = $12, vault = $13, group_tag = $14, due_at = $15, \
                 purge_at = {earlier}(purge_at, $16) WHERE id = $17 AND revision = $18"
            )),
            bury_revision: text(format!("UPDATE {table} SET {tombstone} WHERE id = $6 AND revision = $7")),
            bury: text(format!("UPDATE {table} SET {tombstone} WHERE id = $6 AND ended_at IS NULL")),
            remove: text(format!("DELETE FROM {table} WHERE id = $1 AND ended_at IS NULL")),
            count: text(format!("SELECT COUNT(*) FROM {table} WHERE ended_at IS NULL")),
            advance: spelt(spelling.advance),
            purge: spelt(spelling.purge),
            purge_waiting: spelling.purge_waiting.map(spelt),
            purge_vault: spelt(spelling.purge_vault),
            lock: spelling.lock.map(spelt),
            now: spelling.now.map(spelt),
        }
    }

    /// Returns the statement that lists a page. Parameters: for each tag of this column the tag, the id to begin after, and the
    /// limit; then, for several tags, the limit again.
    pub(super) fn list(&self, column: &str, tags: usize) -> SqlStr {
        self.text(page(READ, &self.table, column, tags))
    }

    /// Returns the statement that lists a page of lifespans, with the parameters of [`list`](Self::list).
    pub(super) fn list_lifespans(&self, column: &str, tags: usize) -> SqlStr {
        self.text(page(LIFESPAN, &self.table, column, tags))
    }

    /// Returns the statement that finds the ids of the buckets with these tags of this column. Parameters: the tags, the
    /// exception, the limit.
    pub(super) fn ids_of(&self, column: &str, tags: usize) -> SqlStr {
        let (places, next) = places(tags);
        let (table, limit) = (&self.table, next + 1);
        // A release that does not know of groups leaves the group of a tombstone.
        self.text(format!(
            "SELECT id FROM {table} WHERE {column} IN ({places}) AND ended_at IS NULL AND id <> ${next} LIMIT ${limit}"
        ))
    }

    /// Returns the statement that finds the ids of all buckets. Parameters: the exception, the limit.
    pub(super) fn ids(&self) -> SqlStr {
        self.text(format!("SELECT id FROM {} WHERE ended_at IS NULL AND id <> $1 LIMIT $2", self.table))
    }

    /// Returns the statement that deletes buckets. Parameters: their ids.
    pub(super) fn remove_these(&self, ids: usize) -> SqlStr {
        self.text(format!("DELETE FROM {} WHERE ended_at IS NULL AND id IN ({})", self.table, places(ids).0))
    }

    /// Returns the statement that finds the latest time before which tokens are refused.
    pub(super) fn not_before(&self) -> SqlStr {
        self.text(format!("SELECT MAX(not_before) FROM {}_not_before", self.table))
    }

    /// Returns the statement that adds such a time. Parameters: the time.
    pub(super) fn add_not_before(&self) -> SqlStr {
        self.text(format!("INSERT INTO {}_not_before (not_before) VALUES ($1)", self.table))
    }

    /// Returns the statement that keeps blobs. Parameters: for each its vault, its id, the deadline and the value.
    pub(super) fn put(&self, blobs: usize) -> SqlStr {
        let row = |at: usize| {
            let first = 4 * at + 1;
            format!("(${first}, ${}, ${}, ${})", first + 1, first + 2, first + 3)
        };
        let rows = (0..blobs).map(row).collect::<Vec<_>>().join(", ");
        let or_else = self.or_else.replace(DEFAULT_TABLE, &self.table);
        self.text(format!("INSERT INTO {}_vault (vault, id, purge_at, value) VALUES {rows} {or_else}", self.table))
    }

    /// Returns the statement that finds blobs. Parameters: their ids, the vault.
    pub(super) fn get(&self, ids: usize) -> SqlStr {
        let (places, next) = places(ids);
        self.text(format!("SELECT id, value FROM {}_vault WHERE id IN ({places}) AND vault = ${next}", self.table))
    }

    /// Returns the statement that deletes blobs. Parameters: their ids, the vault.
    pub(super) fn delete(&self, ids: usize) -> SqlStr {
        let (places, next) = places(ids);
        self.text(format!("DELETE FROM {}_vault WHERE id IN ({places}) AND vault = ${next}", self.table))
    }

    /// Returns the statement that deletes vaults. Parameters: the vaults.
    pub(super) fn delete_all(&self, vaults: usize) -> SqlStr {
        self.text(format!("DELETE FROM {}_vault WHERE vault IN ({})", self.table, places(vaults).0))
    }

    /// Returns the statement that moves the deadlines of a vault. Parameters: the deadline, the vault, the deadline again.
    pub(super) fn prolong(&self) -> SqlStr {
        self.text(format!("UPDATE {}_vault SET purge_at = $1 WHERE vault = $2 AND purge_at < $3", self.table))
    }

    fn text(&self, statement: impl AsRef<str>) -> SqlStr {
        text(statement.as_ref(), self.question_marks)
    }
}

/// Each tag's part is read in the order of its index, and no further than the page: with `subject IN (..)`, a database has
/// to read and sort all of their sessions for each page.
fn page(columns: &str, table: &str, column: &str, tags: usize) -> String {
    let part = |at: usize| {
        let first = 3 * at + 1;
        let (after, limit) = (first + 1, first + 2);
        format!("SELECT {columns} FROM {table} WHERE {column} = ${first} AND id > ${after} ORDER BY id LIMIT ${limit}")
    };
    if tags == 1 {
        return part(0);
    }
    let parts: Vec<_> = (0..tags).map(|at| format!("SELECT * FROM ({}) AS part{at}", part(at))).collect();
    format!("{} ORDER BY id LIMIT ${}", parts.join(" UNION ALL "), 3 * tags + 1)
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
