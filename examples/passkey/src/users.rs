//! The accounts and their passkeys, in memory: a database has them in an application.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secure_sessions_axum::User;
use webauthn_rs::prelude::{AuthenticationResult, Passkey, Uuid};

#[derive(Clone)]
pub(crate) struct Account {
    /// The subject of the user's sessions: it stays when the name changes.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) passkeys: Vec<Passkey>,
}

impl User for Account {
    type State = Users;
    type Error = Infallible;

    async fn load(subject: &str, users: &Users) -> Result<Option<Self>, Infallible> {
        Ok(subject.parse().ok().and_then(|id| users.by_id(id)))
    }
}

#[derive(Clone, Default)]
pub(crate) struct Users(Arc<Mutex<HashMap<Uuid, Account>>>);

impl Users {
    pub(crate) fn by_id(&self, id: Uuid) -> Option<Account> {
        self.locked().get(&id).cloned()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Account> {
        self.locked().values().find(|user| user.name == name).cloned()
    }

    /// Adds a user. Returns `false` if the name or the passkey is another account's.
    pub(crate) fn add(&self, new: Account) -> bool {
        let mut users = self.locked();
        let taken = users
            .values()
            .any(|user| user.name == new.name || new.passkeys.iter().any(|passkey| user.passkeys.contains(passkey)));
        if !taken {
            users.insert(new.id, new);
        }
        !taken
    }

    /// Writes down that a passkey was used: its counter, for instance, which tells a copy of it.
    pub(crate) fn used(&self, id: Uuid, result: &AuthenticationResult) {
        if let Some(user) = self.locked().get_mut(&id) {
            for passkey in &mut user.passkeys {
                passkey.update_credential(result);
            }
        }
    }

    pub(crate) fn remove(&self, id: Uuid) {
        self.locked().remove(&id);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Uuid, Account>> {
        // No code under the lock panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
