//! A store in a file of redb.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::key_value::{Change, Expected, Stored};
use crate::{KeyValue, KvStore, SessionStore, StoreError, VaultStore};

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions");
const PREFIX: &str = "v1";

/// A store in a file of [redb](https://www.redb.org), an embedded database in pure Rust; a clone is the same store.
///
/// One process at a time has the file open; a second one is refused. Every acknowledged write is on the disk, and survives a
/// crash of the process and of the machine (test: `a_killed_process_loses_no_acknowledged_write_to_redb`). Each
/// write waits for the disk, and writes queue behind each other; reads wait for nobody (test:
/// `writes_that_wait_keep_no_thread_from_a_read`). Where several processes share a machine, use `SqlStore` on SQLite.
///
/// After a failure of the disk, which may have been full, redb refuses every call until its file is opened again. The store
/// does so by itself at the next call (test: `a_disk_that_was_full_takes_writes_again_without_a_restart`).
///
/// Run a [`Purge`](crate::Purge) beside it. The file does not become smaller when sessions go, but their space is used again.
///
/// ```
/// use secure_sessions_store::{RedbStore, SessionStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("sessions.redb");
/// let store = RedbStore::open(&path).await?;
/// assert_eq!(store.count().await?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedbStore(KvStore<Redb>);

impl RedbStore {
    /// Opens a file, or creates it if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if the file is no database of redb, or of another version; [`StoreError::Unavailable`] if
    /// another process has it open, or it cannot be read.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let file = off_the_runtime(move || {
            let database = Database::create(&path).map_err(failed)?;
            // So that readers find the table from the beginning.
            let transaction = database.begin_write().map_err(failed)?;
            transaction.open_table(TABLE).map_err(failed)?;
            transaction.commit().map_err(failed)?;
            Ok(File { path, database: RwLock::new(Some(Arc::new(database))) })
        });
        let engine = Redb { file: Arc::new(file.await?), turn: Arc::default() };
        KvStore::new(engine, PREFIX).map(Self)
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedbStore(..)")
    }
}

impl SessionStore for RedbStore {
    crate::forward_methods!(self => &self.0;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, now, not_before,
        raise_not_before);
}

impl VaultStore for RedbStore {
    crate::forward_vault_methods!(self => &self.0; put, get, delete, delete_all, prolong, purge);
}

#[derive(Clone)]
struct Redb {
    file: Arc<File>,
    /// Held by the one that writes. redb would let the others wait as well, on a thread each.
    turn: Arc<Mutex<()>>,
}

struct File {
    path: PathBuf,
    /// `None` after a failure, until the next call opens it again.
    database: RwLock<Option<Arc<Database>>>,
}

impl File {
    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let database = self.database()?;
        let outcome = work(&database);
        if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = outcome {
            let mut open = self.database.write().unwrap_or_else(PoisonError::into_inner);
            // Unless another call has closed it, and a third one opened it again. The last one in it lets go of the file.
            open.take_if(|open| Arc::ptr_eq(open, &database));
        }
        outcome.map_err(failed)
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        if let Some(database) = &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(database));
        }
        let mut open = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*open {
            return Ok(Arc::clone(database));
        }
        // Not created: a file that is gone took its sessions with it.
        let database = Arc::new(Database::open(&self.path).map_err(failed)?);
        *open = Some(Arc::clone(&database));
        Ok(database)
    }
}

impl Redb {
    async fn run<T: Send + 'static>(
        &self,
        turn: Option<OwnedMutexGuard<()>>,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        off_the_runtime(move || {
            // Kept to the end of the work, even if the caller goes away.
            let _turn = turn;
            file.run(work)
        })
        .await
    }
}

impl KeyValue for Redb {
    type Version = ();
    const TRANSACTS: bool = true;
    const EXPIRES: bool = false;

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Stored<()>>>, StoreError> {
        let keys = keys.to_vec();
        self.run(None, move |database| {
            let table = database.begin_read()?.open_table(TABLE)?;
            keys.iter().map(|key| Ok(table.get(key.as_str())?.map(|value| stored(value.value())))).collect()
        })
        .await
    }

    async fn write(&self, changes: &[Change<()>]) -> Result<bool, StoreError> {
        let changes = changes.to_vec();
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.run(Some(turn), move |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for Change { key, expected, .. } in &changes {
                    let holds = match expected {
                        Expected::Anything => true,
                        Expected::Nothing => table.get(key.as_str())?.is_none(),
                        Expected::Unchanged(stored) => {
                            table.get(key.as_str())?.is_some_and(|value| value.value() == stored.value)
                        }
                    };
                    if !holds {
                        return Ok(false);
                    }
                }
                for Change { key, new, .. } in &changes {
                    match new {
                        Some(new) => drop(table.insert(key.as_str(), new.value.as_slice())?),
                        None => drop(table.remove(key.as_str())?),
                    }
                }
            }
            transaction.commit()?;
            Ok(true)
        })
        .await
    }

    async fn scan(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, Stored<()>)>, StoreError> {
        let range = from.to_owned()..to.to_owned();
        self.run(None, move |database| {
            let table = database.begin_read()?.open_table(TABLE)?;
            let values = table.range(range.start.as_str()..range.end.as_str())?.take(limit);
            values
                .map(|item| item.map(|(key, value)| (key.value().to_owned(), stored(value.value()))))
                .collect::<Result<_, _>>()
                .map_err(redb::Error::from)
        })
        .await
    }
}

fn stored(value: &[u8]) -> Stored<()> {
    Stored { value: value.to_vec(), version: () }
}

/// Runs what waits for the disk on a thread for that.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(StoreError::unavailable)?
}

/// An error of redb names files, and no keys or values.
fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        error @ redb::Error::Corrupted(_) => StoreError::corrupt(error),
        error @ (redb::Error::UpgradeRequired(_) | redb::Error::TableTypeMismatch { .. }) => {
            StoreError::rejected(error)
        }
        error => StoreError::unavailable(error),
    }
}
