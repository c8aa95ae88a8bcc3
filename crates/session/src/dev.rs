//! A manager for the first minutes of a project.

use secure_sessions_store::MemoryStore;

use crate::keyring::Keyring;
use crate::manager::SessionManager;

impl SessionManager {
    /// Creates a manager for development: generated keys, sessions and their vault in memory, and a cookie for plain http
    /// ([`insecure_dev`](crate::Builder::insecure_dev)). A restart logs everyone out. Warnings in the log say so.
    ///
    /// In production, write [`SessionManager::builder`] instead, with `Keyring::from_env()` and a store that outlives the
    /// process.
    ///
    /// ```
    /// let manager = secure_sessions::SessionManager::dev();
    /// assert_eq!(manager.cookie_name(), "session");
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the system's source of randomness fails.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a developer is there to see it")]
    pub fn dev() -> Self {
        tracing::warn!(
            target: "secure_sessions",
            "sessions are for development alone: in this process's memory, under keys that end with it"
        );
        let keyring = Keyring::generate().expect("randomness for the keys");
        let store = MemoryStore::new();
        Self::builder(keyring, store.clone()).vault(store).insecure_dev().build().expect("the defaults build")
    }
}
