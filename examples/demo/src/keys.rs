//! The demo's keys: made at the first start, and kept in a file that only its owner can read.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use secure_sessions_axum::{KeySourceError, Keyring};

use crate::format::{FormatError, SealKey};

/// The demo's keys, and one of them once more, leaked: for the lab's forger and the anatomy of a cookie.
pub struct Keys {
    /// For the session managers.
    pub keyring: Keyring,
    /// The active seal key.
    pub leaked: SealKey,
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
        /// Why not.
        source: io::Error,
    },
    /// The file holds no keyring.
    #[error(transparent)]
    Source(#[from] KeySourceError),
    /// The file's first line is no seal key.
    #[error("the first line of the key file: {0}")]
    Format(#[from] FormatError),
}

impl Keys {
    /// Reads the file, or makes it with new keys.
    ///
    /// # Errors
    ///
    /// [`KeysError`] says why there are no keys.
    pub fn load_or_create(path: &Path) -> Result<Self, KeysError> {
        if !path.exists() {
            create(path)?;
        }
        let text = std::fs::read_to_string(path).map_err(at(path))?;
        let leaked = SealKey::from_text(text.lines().next().unwrap_or_default())?;
        Ok(Self { keyring: Keyring::from_file(path)?, leaked })
    }
}

fn create(path: &Path) -> Result<(), KeysError> {
    let (seal, fingerprint) = Keyring::generate_texts()?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(at(path))?;
    file.write_all(format!("{}\n{}\n", *seal, *fingerprint).as_bytes()).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> KeysError {
    |source| KeysError::File { path: path.to_owned(), source }
}
