//! A store in memory whose calls fail as planned.

use std::sync::{Arc, Mutex};

use secure_sessions::store::{Bucket, Entry, Revision, SessionId, Tombstone, Which, forward_methods};
use secure_sessions::{Keyring, MemoryStore, SessionManager, SessionStore, StoreError};

/// The call that fails, how many of its name go well before, and whether it is carried out all the same.
pub type Fault = (&'static str, u32, bool);

/// A store in memory, one call of which fails (the next of each planned name): before it took effect, or after.
#[derive(Clone)]
pub struct Faulty {
    pub store: MemoryStore,
    plan: Arc<Mutex<Vec<Fault>>>,
}

impl Faulty {
    pub fn alone() -> Self {
        Self { store: MemoryStore::new(), plan: Arc::default() }
    }

    pub fn new() -> (SessionManager, Self) {
        let store = Self::alone();
        let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone());
        (builder.insecure_dev().build().unwrap(), store)
    }

    /// Lets the call of this name after `skip` others fail, `carried_out` or not.
    pub fn fail(&self, name: &'static str, skip: u32, carried_out: bool) {
        self.plan.lock().unwrap().push((name, skip, carried_out));
    }

    pub fn heal(&self) {
        self.plan.lock().unwrap().clear();
    }

    /// Returns how the call that begins now is to fail, if it is.
    fn fault(&self, name: &str) -> Option<bool> {
        let mut plan = self.plan.lock().unwrap();
        let at = plan.iter().position(|(planned, ..)| *planned == name)?;
        if plan[at].1 > 0 {
            plan[at].1 -= 1;
            return None;
        }
        Some(plan.remove(at).2)
    }
}

pub fn failed() -> StoreError {
    StoreError::unavailable("cut off")
}

macro_rules! faulty {
    ($self:ident, $name:ident, $($argument:expr),*) => {
        match $self.fault(stringify!($name)) {
            None => $self.store.$name($($argument),*).await,
            Some(carried_out) => {
                if carried_out {
                    $self.store.$name($($argument),*).await?;
                }
                Err(failed())
            }
        }
    };
}

impl SessionStore for Faulty {
    forward_methods!(self => &self.store; list, count, purge_expired);

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        faulty!(self, load, id)
    }

    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        faulty!(self, insert, bucket)
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        faulty!(self, replace, bucket, expected)
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        faulty!(self, renew_into, bucket, old, expected, tombstone)
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        faulty!(self, remove, id, tombstone)
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        faulty!(self, remove_all, which, except)
    }
}
