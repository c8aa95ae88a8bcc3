//! The demo's keys: made at the first start, kept in a file that only its owner can read, and replaced while it runs.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secure_sessions_axum::{KeySourceError, Keyring};

use crate::config::DATABASE_VARIABLE;
use crate::format::{FormatError, SealKey};
use crate::private::{self, PrivateError};

/// A line of the file that holds a leaked key begins with this word.
const COMPROMISED: &str = "compromised ";

/// The key file, and every seal key in it once more: for the lab's forger and the anatomy of a cookie. Cheap to clone.
#[derive(Clone)]
pub struct KeyFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// The active one first.
    seal_keys: Mutex<Vec<SealKey>>,
}

/// The keys could not be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file could not be read or written.
    #[error("the key file {path} cannot be read or made: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Others may have read or made the file, or it cannot be made.
    #[error("the key file beside the database ({DATABASE_VARIABLE}): {0}")]
    Private(#[from] PrivateError),
    /// The file holds no keyring.
    #[error(transparent)]
    Source(#[from] KeySourceError),
    /// A line of the file is no seal key.
    #[error("the key file: {0}")]
    Format(#[from] FormatError),
}

impl KeyFile {
    /// Opens the file, or makes it with new keys.
    ///
    /// # Errors
    ///
    /// [`KeysError`] says why there are no keys.
    pub fn open_or_create(path: PathBuf) -> Result<Self, KeysError> {
        if let Some(file) = private::file(&path)? {
            let (seal, fingerprint) = Keyring::generate_texts()?;
            write(file, &format!("{}\n{}\n", *seal, *fingerprint)).map_err(at(&path))?;
        }
        let seal_keys = Mutex::new(seal_keys(&read(&path)?)?);
        Ok(Self(Arc::new(Inner { path, seal_keys })))
    }

    /// Returns the keys that the file holds now.
    ///
    /// # Errors
    ///
    /// [`KeySourceError`] says what is wrong with the file.
    pub fn keyring(&self) -> Result<Keyring, KeySourceError> {
        Keyring::from_file(&self.0.path)
    }

    /// The active seal key.
    #[must_use]
    pub fn active(&self) -> Option<SealKey> {
        self.lock().first().cloned()
    }

    /// The seal key with this id, leaked or not.
    #[must_use]
    pub fn seal_key(&self, id: [u8; 4]) -> Option<SealKey> {
        self.lock().iter().find(|key| key.id() == id).cloned()
    }

    /// The drill: writes a new seal key in front and marks all others as compromised.
    ///
    /// # Errors
    ///
    /// [`KeysError`]; the file is as it was then.
    pub fn compromise_seal_keys(&self) -> Result<(), KeysError> {
        let mut known = self.lock();
        let (seal, _) = Keyring::generate_texts()?;
        let mut text = format!("{}\n", *seal);
        for line in read(&self.0.path)?.lines() {
            if line.starts_with("sealk1_") {
                text.push_str(COMPROMISED);
            }
            text.push_str(line);
            text.push('\n');
        }
        let keys = seal_keys(&text)?;
        // A process that dies half-way must not leave half a file.
        let mut new = self.0.path.clone().into_os_string();
        new.push(".new");
        let new = PathBuf::from(new);
        if new.exists() {
            std::fs::remove_file(&new).map_err(at(&new))?;
        }
        private::new_file(&new).and_then(|file| write(file, &text)).map_err(at(&new))?;
        std::fs::rename(&new, &self.0.path).map_err(at(&self.0.path))?;
        *known = keys;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SealKey>> {
        self.0.seal_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seal_keys(text: &str) -> Result<Vec<SealKey>, FormatError> {
    let keys = text.lines().map(|line| line.strip_prefix(COMPROMISED).unwrap_or(line));
    keys.filter(|line| line.starts_with("sealk1_")).map(SealKey::from_text).collect()
}

fn read(path: &Path) -> Result<String, KeysError> {
    std::fs::read_to_string(path).map_err(at(path))
}

fn write(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn at(path: &Path) -> impl Fn(io::Error) -> KeysError {
    |source| KeysError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use secure_sessions_axum::secure_sessions::KeyState;

    use super::*;

    #[test]
    fn the_drill_puts_a_new_key_in_front_and_keeps_the_old_ones_as_compromised() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = KeyFile::open_or_create(directory.path().join("keys")).expect("keys");
        let first = file.active().expect("a key").id();
        file.compromise_seal_keys().expect("written");
        file.compromise_seal_keys().expect("written");
        let states: Vec<_> = file.keyring().expect("a keyring").states().map(|(_, _, state)| state).collect();
        let [active, leaked] = [KeyState::Active, KeyState::Compromised];
        assert_eq!(states, [active, leaked, leaked, active]);
        assert!(file.seal_key(first).is_some() && file.active().is_some_and(|key| key.id() != first));
        let again = KeyFile::open_or_create(directory.path().join("keys")).expect("the same keys");
        assert_eq!(again.active().map(|key| key.id()), file.active().map(|key| key.id()));
    }
}
