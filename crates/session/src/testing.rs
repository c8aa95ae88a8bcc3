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
//!
//! Afterwards, [`SetCookie`] reads what the response set, and [`look`] what the session holds now.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::adapter::head::RequestHead;
use crate::clock::ManualClock;
use crate::error::SessionError;
use crate::keyring::Keyring;
use crate::manager::SessionManager;
use crate::session::Session;
use crate::session::typed::{SessionData, Typed};
use secure_sessions_store::MemoryStore;

/// Creates a manager with generated keys, sessions and their vault in memory, the cookie `session` for plain http, and a clock that
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
    let store = MemoryStore::new();
    let builder = SessionManager::builder(keyring, store.clone()).vault(store).insecure_dev().clock(clock.clone());
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

    /// Sets the fields of `data`, as a handler with a [`Typed`] view would. Fields that equal those of `T::default()`
    /// are left out.
    ///
    /// ```
    /// use secure_sessions::testing;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Shop {
    ///     cart: Vec<u32>,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), secure_sessions::SessionError> {
    /// let (manager, _) = testing::manager();
    /// let cookie = testing::session(&manager).typed(Shop { cart: vec![7] }).cookie().await?;
    /// # assert_eq!(testing::look(&manager, &cookie).await?.get::<Vec<u32>>("cart")?, Some(vec![7]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn typed<T: SessionData>(self, data: T) -> Self {
        self.with(|session| Typed::<T>::new(session.clone())?.set(data))
    }

    /// Runs a step of your application on the session, as your handlers call it: with the `Session` and the
    /// `SessionError` of your adapter.
    ///
    /// ```
    /// # use secure_sessions::{Session, SessionError, testing};
    /// /// A function of the application, here without an adapter.
    /// fn begin_checkout(session: &Session) -> Result<(), SessionError> {
    ///     session.insert("step", "address")
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SessionError> {
    /// let (manager, _) = testing::manager();
    /// let cookie = testing::session(&manager).login("alice").apply(begin_checkout).cookie().await?;
    /// # assert!(testing::look(&manager, &cookie).await?.contains_key("step"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn apply<S, E>(self, step: impl FnOnce(&S) -> Result<(), E> + Send + 'static) -> Self
    where
        S: From<Session>,
        E: Into<SessionError>,
    {
        self.with(move |session| step(&S::from(session.clone())).map_err(Into::into))
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
        Ok(self.create(false).await?.0)
    }

    /// Creates the session, also if nothing was put into it. Returns `name=value` for the header `Cookie`, and a CSRF
    /// token for the header [`csrf_header`](SessionManager::csrf_header) or the form field
    /// [`csrf_token`](crate::CSRF_FIELD).
    ///
    /// # Errors
    ///
    /// Returns the error of a step, or of the commit.
    pub async fn cookie_and_csrf_token(self) -> Result<(String, String), SessionError> {
        self.create(true).await
    }

    async fn create(self, with_token: bool) -> Result<(String, String), SessionError> {
        let request = self.manager.begin();
        let session = request.session(&Head(None)).await?;
        for step in self.steps {
            step(&session)?;
        }
        // After all steps, since a login changes the id that the token is made for.
        let token = if with_token { session.csrf_token()? } else { String::new() };
        let Some(reply) = request.finish(200).await else { return Ok((String::new(), token)) };
        match reply.failure {
            Some(error) => Err(*error),
            None => Ok((reply.set_cookie.as_deref().map(pair).unwrap_or_default().to_owned(), token)),
        }
    }
}

/// Looks into the session of a cookie, `name=value` or a whole `Set-Cookie`, without keeping it alive. The session is
/// [new](Session::is_new) if the cookie is refused. Changes are not kept.
///
/// ```
/// use secure_sessions::testing;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), secure_sessions::SessionError> {
/// let (manager, _) = testing::manager();
/// let cookie = testing::session(&manager).login("alice").cookie().await?;
/// // After requests to the application:
/// let session = testing::look(&manager, &cookie).await?;
/// assert_eq!(session.subject().as_deref(), Some("alice"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`SessionError::Store`] if the store fails.
pub async fn look(manager: &SessionManager, cookie: &str) -> Result<Session, SessionError> {
    let request = manager.begin();
    request.untouched();
    request.session(&Head(Some(pair(cookie)))).await
}

/// A `Set-Cookie` header, read as a browser does.
///
/// ```
/// use std::time::Duration;
/// use secure_sessions::testing::SetCookie;
///
/// let cookie = SetCookie::parse("session=abc; Path=/; HttpOnly; Max-Age=60").unwrap();
/// assert_eq!((cookie.name.as_str(), cookie.value.as_str()), ("session", "abc"));
/// assert_eq!(cookie.to_string(), "session=abc"); // For the header `Cookie`.
/// assert_eq!(cookie.attribute("httponly"), Some(""));
/// assert_eq!(cookie.max_age(), Some(Duration::from_secs(60)));
/// assert!(!cookie.is_removal());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie {
    /// The cookie's name.
    pub name: String,
    /// The cookie's value.
    pub value: String,
    attributes: Vec<(String, String)>,
}

impl SetCookie {
    /// Parses the value of a `Set-Cookie` header; `None` if it has no name.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split(';').map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.trim().to_owned(), value.trim().to_owned())
        });
        let (name, value) = parts.next().filter(|(name, _)| !name.is_empty())?;
        Some(Self { name, value, attributes: parts.collect() })
    }

    /// Returns the value of an attribute, empty for one without a value; `None` if it is absent. The case of the name
    /// does not matter.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        // If there are several, the last one counts (RFC 6265bis).
        let found = self.attributes.iter().rev().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns how long a browser keeps the cookie; `None` until it closes.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.attribute("max-age")?.parse().ok().map(Duration::from_secs)
    }

    /// Returns `true` if the header removes the cookie from the browser.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        self.max_age() == Some(Duration::ZERO)
    }
}

impl fmt::Display for SetCookie {
    /// Writes `name=value`, as the header `Cookie` carries it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Returns `name=value` without the attributes.
fn pair(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap_or_default()
}

/// A request with a cookie at most.
struct Head<'a>(Option<&'a str>);

impl RequestHead for Head<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        if let Some(cookie) = self.0.filter(|_| name == "cookie") {
            visit(cookie.as_bytes());
        }
    }

    fn method(&self) -> &'static str {
        "GET"
    }
}
