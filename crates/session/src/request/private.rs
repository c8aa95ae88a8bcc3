//! Private values on their way to the vault.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use getrandom::SysRng;
use secure_sessions_core::{Reference, References, SecretBytes, Timestamp, VaultError, VaultId};

use crate::error::SessionError;

/// An encoded value with the reference that was drawn for it.
pub(crate) struct Private {
    key: Box<str>,
    reference: Reference,
    value: SecretBytes,
    /// The vault that has its blob, and the deadline that the blob has there.
    put: Mutex<Option<(VaultId, Timestamp)>>,
}

impl Private {
    pub(crate) fn new(key: &str, value: SecretBytes) -> Result<Self, VaultError> {
        let reference = Reference::draw(value.len(), &mut SysRng)?;
        Ok(Self { key: key.into(), reference, value, put: Mutex::default() })
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    pub(crate) fn value(&self) -> &SecretBytes {
        &self.value
    }

    /// Returns `true` if this vault keeps the blob at least until `purge_at`.
    pub(crate) fn is_put(&self, vault: &VaultId, purge_at: Timestamp) -> bool {
        self.put().as_ref().is_some_and(|(kept, until)| kept == vault && *until >= purge_at)
    }

    /// Records where the blob is, or with `None` that it is nowhere.
    pub(crate) fn set_put(&self, put: Option<(VaultId, Timestamp)>) {
        *self.put() = put;
    }

    fn put(&self) -> MutexGuard<'_, Option<(VaultId, Timestamp)>> {
        // Nothing panics under this lock.
        self.put.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change of a private value that depends on the current one: it runs when it is asked for, and again if another request
/// replaced the value before the commit.
pub(crate) struct PrivateUpdate {
    key: Box<str>,
    change: Box<Change>,
    run: Mutex<Option<Run>>,
}

type Change = dyn Fn(Option<&[u8]>) -> Result<SecretBytes, SessionError> + Send + Sync;

/// The value that an update starts from: in the vault, or still in the cookie.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) reference: Option<Reference>,
    pub(crate) data: Option<SecretBytes>,
}

/// The latest run of an update.
struct Run {
    start: Start,
    /// The new value, or `None` if the closure left the value as it was.
    result: Option<Arc<Private>>,
}

impl PrivateUpdate {
    pub(crate) fn new(
        key: &str,
        change: impl Fn(Option<&[u8]>) -> Result<SecretBytes, SessionError> + Send + Sync + 'static,
    ) -> Self {
        Self { key: key.into(), change: Box::new(change), run: Mutex::default() }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn ran_on(&self, start: &Start) -> bool {
        self.run().as_ref().is_some_and(|run| run.start == *start)
    }

    /// Runs the closure on this value.
    pub(crate) fn run_on(&self, start: Start, value: Option<&[u8]>) -> Result<(), SessionError> {
        let changed = (self.change)(value)?;
        Ok(self.start_with(start, value, changed)?)
    }

    /// Takes over the outcome of a run that was made on this value.
    pub(crate) fn start_with(
        &self,
        start: Start,
        value: Option<&[u8]>,
        changed: SecretBytes,
    ) -> Result<(), VaultError> {
        let result = if value == Some(&*changed) { None } else { Some(Arc::new(Private::new(&self.key, changed)?)) };
        *self.run() = Some(Run { start, result });
        Ok(())
    }

    /// Returns the new value, or `None` if the latest run left the value as it was.
    pub(crate) fn result(&self) -> Option<Arc<Private>> {
        self.run().as_ref().and_then(|run| run.result.clone())
    }

    pub(crate) fn apply(&self, references: &mut References) -> Result<(), VaultError> {
        match self.result() {
            Some(private) => references.insert(&self.key, private.reference().clone()),
            None => Ok(()),
        }
    }

    fn run(&self) -> MutexGuard<'_, Option<Run>> {
        // Nothing panics under this lock.
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
