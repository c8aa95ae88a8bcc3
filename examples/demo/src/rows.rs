//! The database as an intruder with a copy of it sees it: every table and row, and the raw bytes of the files.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Column, Row, TypeInfo, ValueRef};

/// The most rows that a table shows.
const SHOWN: i64 = 200;
/// The most bytes that a cell shows of a blob.
const SHOWN_BYTES: usize = 4;

/// The demo's database.
#[derive(Debug, Clone)]
pub struct Database {
    pool: SqlitePool,
    path: PathBuf,
}

/// One table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The number of its rows.
    pub count: i64,
    /// The names of its columns.
    pub columns: Vec<String>,
    /// Its newest rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns `true` if it has more rows than are shown.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        i64::try_from(self.rows.len()).is_ok_and(|shown| shown < self.count)
    }
}

impl Database {
    /// The database in this file.
    #[must_use]
    pub fn new(pool: SqlitePool, path: PathBuf) -> Self {
        Self { pool, path }
    }

    /// Every table that has a row, with the newest of them.
    ///
    /// # Errors
    ///
    /// [`sqlx::Error`] if the database cannot be read.
    pub async fn tables(&self) -> Result<Vec<Table>, sqlx::Error> {
        let names: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
                .fetch_all(&self.pool)
                .await?;
        let mut tables = Vec::new();
        for name in names {
            // A name cannot be a bound parameter. It comes from the database's own list, and is quoted.
            let quoted = format!("\"{}\"", name.replace('"', "\"\""));
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {quoted}")))
                .fetch_one(&self.pool)
                .await?;
            if count == 0 {
                continue;
            }
            let newest = format!("SELECT * FROM {quoted} ORDER BY rowid DESC LIMIT {SHOWN}");
            let rows = sqlx::query(sqlx::AssertSqlSafe(newest)).fetch_all(&self.pool).await?;
            let columns = rows.first().map(|row| row.columns().iter().map(|column| column.name().to_owned()).collect());
            let rows = rows.iter().map(cells).collect::<Result<_, _>>()?;
            tables.push(Table { name, count, columns: columns.unwrap_or_default(), rows });
        }
        Ok(tables)
    }

    /// All bytes of the file and of its write-ahead log.
    ///
    /// # Errors
    ///
    /// [`std::io::Error`] if the file cannot be read.
    pub async fn raw_bytes(&self) -> Result<Vec<u8>, std::io::Error> {
        let mut bytes = tokio::fs::read(&self.path).await?;
        for suffix in ["-wal", "-journal"] {
            match tokio::fs::read(beside(&self.path, suffix)).await {
                Ok(more) => bytes.extend_from_slice(&more),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn cells(row: &SqliteRow) -> Result<Vec<String>, sqlx::Error> {
    (0..row.columns().len())
        .map(|index| {
            let value = row.try_get_raw(index)?;
            if value.is_null() {
                return Ok("–".to_owned());
            }
            let kind = value.type_info();
            match kind.name() {
                "INTEGER" | "BOOLEAN" => row.try_get_unchecked::<i64, _>(index).map(|number| number.to_string()),
                "REAL" => row.try_get_unchecked::<f64, _>(index).map(|number| number.to_string()),
                "TEXT" => row.try_get_unchecked::<String, _>(index),
                _ => row.try_get_unchecked::<Vec<u8>, _>(index).map(|bytes| blob(&bytes)),
            }
        })
        .collect()
}

fn blob(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN_BYTES { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}
