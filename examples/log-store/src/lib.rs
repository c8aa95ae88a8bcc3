#![doc = include_str!("../README.md")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use secure_sessions_store::key_value::{Change, Expected, Stored};
use secure_sessions_store::{KeyValue, KvStore, SessionStore, StoreError, forward_methods};

use crate::frame::Values;

mod frame;

/// Sessions in a log file; a clone is the same store.
#[derive(Clone)]
pub struct LogStore(KvStore<Log>);

impl LogStore {
    /// Opens a file, or creates it. Only one process can have it open.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if another process has it open, or it cannot be read or written.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let log = off_the_runtime(move || Log::open(&path).map_err(StoreError::unavailable)).await?;
        KvStore::new(log, "sessions").map(Self)
    }
}

impl SessionStore for LogStore {
    forward_methods!(self => &self.0;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, not_before, raise_not_before);
}

/// The engine. All values are in memory, and every write is in the file before it is acknowledged.
#[derive(Clone)]
struct Log(Arc<Inner>);

struct Inner {
    values: RwLock<Values>,
    end: Mutex<End>,
    /// Locked as long as the log is open.
    _lock: File,
}

/// The end of the file, where the next frame goes.
struct End {
    file: File,
    at: u64,
    /// A frame that failed could not be cut off again, so nothing may come behind it.
    is_broken: bool,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let lock = File::create(path.with_extension("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process has the log open"),
            TryLockError::Error(error) => error,
        })?;
        let mut values = Values::new();
        let log = if path.exists() { fs::read(path)? } else { Vec::new() };
        // A frame that a crash has cut off was not acknowledged.
        frame::read_all(&log, &mut values);
        // Values that were overwritten since are left behind.
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        let all = frame::of_values(&values);
        file.write_all(&all)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        let file = OpenOptions::new().append(true).open(path)?;
        let at = u64::try_from(all.len()).map_err(io::Error::other)?;
        let end = Mutex::new(End { file, at, is_broken: false });
        Ok(Self(Arc::new(Inner { values: RwLock::new(values), end, _lock: lock })))
    }

    fn read<T>(&self, work: impl FnOnce(&Values) -> T) -> T {
        work(&self.0.values.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compares and writes. Only one call at a time has the end of the file, so nothing changes in between.
    fn write_now(&self, changes: &[Change<()>]) -> Result<bool, StoreError> {
        let mut end: MutexGuard<'_, End> = self.0.end.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |values: &Values| {
            changes.iter().all(|change| match &change.expected {
                Expected::Anything => true,
                Expected::Nothing => !values.contains_key(&change.key),
                Expected::Unchanged(stored) => values.get(&change.key) == Some(&stored.value),
            })
        };
        if !self.read(holds) {
            return Ok(false);
        }
        let changes = || changes.iter().map(|change| (&*change.key, change.new.as_ref().map(|new| &*new.value)));
        end.append(&frame::of(changes())).map_err(StoreError::unavailable)?;
        // Readers see it now that it is on the disk.
        let mut values = self.0.values.write().unwrap_or_else(PoisonError::into_inner);
        for (key, new) in changes() {
            frame::apply(&mut values, key, new);
        }
        Ok(true)
    }
}

impl End {
    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other(
                "an earlier write failed, and its part of the log is still there: open it again",
            ));
        }
        match self.file.write_all(frame).and_then(|()| self.file.sync_data()) {
            Ok(()) => self.at += u64::try_from(frame.len()).map_err(io::Error::other)?,
            Err(error) => {
                self.is_broken = self.file.set_len(self.at).and_then(|()| self.file.sync_data()).is_err();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl KeyValue for Log {
    // Values are compared as a whole: a version would have to be kept with them.
    type Version = ();
    const TRANSACTS: bool = true;
    const EXPIRES: bool = false;

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Stored<()>>>, StoreError> {
        Ok(self.read(|values| keys.iter().map(|key| values.get(key).map(|value| stored(value))).collect()))
    }

    async fn write(&self, changes: &[Change<()>]) -> Result<bool, StoreError> {
        let (log, changes) = (self.clone(), changes.to_vec());
        off_the_runtime(move || log.write_now(&changes)).await
    }

    async fn scan(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, Stored<()>)>, StoreError> {
        Ok(self.read(|values| {
            let range = values.range(from.to_owned()..to.to_owned()).take(limit);
            range.map(|(key, value)| (key.clone(), stored(value))).collect()
        }))
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
