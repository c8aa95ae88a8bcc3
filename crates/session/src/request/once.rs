//! The removal of a value that exactly one request may get.

use std::sync::{Mutex, MutexGuard, PoisonError};

use secure_sessions_core::{DataMap, SecretBytes};

/// A logged removal that remembers what it found. It runs whenever its request's changes are applied; the run that
/// counts is the last one before a commit succeeds, since that commit writes its outcome.
pub(crate) struct TakeOnce {
    key: Box<str>,
    /// Returns `true` for a value of the type asked for. Any other value stays in the session.
    fits: fn(&[u8]) -> bool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    value: Option<SecretBytes>,
    /// `true` once a commit has written the removal.
    written: bool,
}

impl TakeOnce {
    pub(crate) fn new(key: &str, fits: fn(&[u8]) -> bool) -> Self {
        Self { key: key.into(), fits, found: Mutex::default() }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Removes the value from `data`. Returns `true` if it was there, and of the type asked for.
    pub(crate) fn apply(&self, data: &mut DataMap) -> bool {
        let value = data.get_encoded(&self.key).map(<[u8]>::to_vec).map(SecretBytes::from);
        let fits = value.as_deref().is_some_and(self.fits);
        if fits {
            data.remove(&self.key);
        }
        self.found().value = value;
        fits
    }

    /// Forgets what was found: the removal was not written.
    pub(crate) fn forget(&self) {
        self.found().value = None;
    }

    /// Records that a commit has written the removal.
    pub(crate) fn confirm(&self) {
        self.found().written = true;
    }

    /// Returns `true` if a value was found.
    pub(crate) fn has_found(&self) -> bool {
        self.found().value.is_some()
    }

    /// Returns what the commit removed. Only the first call gets it.
    pub(crate) fn take(&self) -> Option<SecretBytes> {
        let mut found = self.found();
        if found.written { found.value.take() } else { None }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        // Nothing panics under this lock.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
