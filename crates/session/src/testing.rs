//! Helpers for an application's tests: a manager in memory with a clock that stands still, and cookies of sessions that
//! no browser created.
//!
//! ```
//! use std::time::Duration;
//! use secure_sessions::testing;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), secure_sessions::SessionError> {
//! let (manager, clock) = testing::manager();
//! let cookie = testing::session(&manager).login("alice").insert("cart", ["book"]).cookie().await?;
//! // Put `cookie` into the header `Cookie` of a request to the application, then, say:
//! clock.advance(Duration::from_secs(31 * 60));
//! // ... and the same cookie has expired.
//! # assert!(cookie.starts_with("session="));
//! # Ok(())
//! # }
//! ```

use serde::Serialize;

use crate::adapter::head::RequestHead;
use crate::clock::ManualClock;
use crate::error::SessionError;
use crate::keyring::Keyring;
use crate::manager::SessionManager;
use crate::session::Session;
use secure_sessions_store::MemoryStore;

/// Creates a manager with generated keys, sessions in memory, the cookie `session` for plain http, and a clock that
/// stands at the current time until you move it.
///
/// # Panics
///
/// Panics if the source of randomness fails.
#[must_use]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
pub fn manager() -> (SessionManager, ManualClock) {
    let clock = ManualClock::at_present();
    let keyring = Keyring::generate().expect("randomness for the keys");
    let builder = SessionManager::builder(keyring, MemoryStore::new()).insecure_dev().clock(clock.clone());
    (builder.build().expect("the defaults build"), clock)
}

/// Begins a session without a browser.
pub fn session(manager: &SessionManager) -> TestSession {
    TestSession { manager: manager.clone(), steps: Vec::new() }
}

type Step = Box<dyn FnOnce(&Session) -> Result<(), SessionError> + Send>;

/// A session under construction: see [`session`].
#[must_use = "nothing is made before `cookie`"]
pub struct TestSession {
    manager: SessionManager,
    steps: Vec<Step>,
}

impl TestSession {
    /// Logs a subject in.
    pub fn login(self, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        self.with(move |session| session.login(&subject))
    }

    /// Sets the value of `key`.
    pub fn insert(self, key: impl Into<String>, value: impl Serialize + Send + 'static) -> Self {
        let key = key.into();
        self.with(move |session| session.insert(&key, value))
    }

    /// Runs any other step on the session.
    pub fn with(mut self, step: impl FnOnce(&Session) -> Result<(), SessionError> + Send + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }

    /// Creates the session. Returns `name=value` for the header `Cookie`, or an empty text if nothing was put into the
    /// session.
    ///
    /// # Errors
    ///
    /// Returns the error of a step, or of the commit.
    pub async fn cookie(self) -> Result<String, SessionError> {
        let request = self.manager.begin();
        let session = request.session(&NoHead).await?;
        for step in self.steps {
            step(&session)?;
        }
        let Some(reply) = request.finish(200).await else { return Ok(String::new()) };
        match reply.failure {
            Some(error) => Err(error),
            None => {
                let header = reply.set_cookie.unwrap_or_default();
                Ok(header.split(';').next().unwrap_or_default().to_owned())
            }
        }
    }
}

/// A request without any header.
struct NoHead;

impl RequestHead for NoHead {
    fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}

    fn method(&self) -> &'static str {
        "GET"
    }
}
