//! The error of work on a session.

use std::time::Duration;

use secure_sessions_core::{DataError, LabelError, MetaError, RandomError, SealError, VaultError, debug_as_display};
use secure_sessions_store::StoreError;

use secure_sessions_core::format::MAX_FLASH_LEN;

/// The error of a handler, an extractor or a commit that works on a session.
///
/// `Display` describes the error for the log, and so does `Debug`. A client sees [`client_text`](Self::client_text) and
/// nothing else. An error may name the key that it is about, but never shows a value: put no data of a user into a key.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session would outgrow its cookie. Nothing was changed.
    #[error(
        "{}the session takes {size} bytes of cookie name and value, more than the limit of {limit}; store less in the session, or keep large values elsewhere and store only their ids",
        with_key(.key)
    )]
    TooLarge {
        /// The key whose new value is too much, if it was one.
        key: Option<Box<str>>,
        /// The size that name and value would have, in bytes.
        size: usize,
        /// The largest size allowed, in bytes.
        limit: usize,
    },
    /// A value was refused: it cannot be encoded, or is of another type than asked for. Nothing was changed.
    #[error(transparent)]
    Data(DataError),
    /// The subject or another entry of the engine's own is too long. Nothing was changed.
    #[error(transparent)]
    Meta(MetaError),
    /// The label is too long. Nothing was changed.
    #[error(transparent)]
    Label(LabelError),
    /// A flash message is too long. Nothing was changed.
    #[error(
        "the flash message has {length} bytes, more than {MAX_FLASH_LEN}; shorten it, or keep what it tells elsewhere"
    )]
    Flash {
        /// Its length in bytes.
        length: usize,
    },
    /// The request's CSRF token is missing, or belongs to another session.
    #[error("the request's CSRF token is missing, or not one of its session")]
    Csrf,
    /// The session has ended: logged out, revoked, expired or renewed, here or by another request.
    #[error("the session has ended; what this request changed is not kept")]
    Ended,
    /// Other requests changed the session, and this one can no longer follow.
    #[error(
        "other requests changed the session, and its newest state is out of reach; what this request changed is not kept"
    )]
    Conflict,
    /// The response's headers were already sent, so a change could no longer reach the client.
    #[error("the response's headers were already sent; change the session before, or call `save` in the handler")]
    Finished,
    /// The closure given to `update` changed the session itself.
    #[error(
        "the closure given to `update` called a method that changes the session; return the value, and call it afterwards"
    )]
    ChangedInsideUpdate,
    /// Nobody is logged in.
    #[error("nobody is logged in")]
    NotLoggedIn,
    /// Nobody is logged in, and the request is a navigation of a browser: it is sent to the
    /// [login page](crate::Builder::login_url).
    #[error("nobody is logged in; the browser is sent to the login page")]
    LogInAt {
        /// The address of the login page, with the way back.
        location: String,
    },
    /// The user lacks a permission.
    #[error("the user does not have the permission `{permission}`")]
    NotAllowed {
        /// The name of the permission's type.
        permission: &'static str,
    },
    /// The subject is not of the type asked for. See [`Session::subject_as`](crate::Session::subject_as).
    #[error("the session's subject is not a `{wanted}`; who logged in under another kind of id must log in again")]
    Subject {
        /// The name of the type.
        wanted: &'static str,
    },
    /// The user could not be loaded.
    #[error("the user could not be loaded: {0}")]
    User(Box<dyn std::error::Error + Send + Sync>),
    /// The application has no state of the type that users are loaded from.
    #[error("users are loaded from a `{state}`, which the application does not have: {hint}")]
    NoState {
        /// The name of the type.
        state: &'static str,
        /// The advice on what to add.
        hint: &'static str,
    },
    /// The subject authenticated longer ago than the handler allows. See [`Session::require_recent_auth`].
    ///
    /// [`Session::require_recent_auth`]: crate::Session::require_recent_auth
    #[error("the subject authenticated {}, and {max_age:?} are allowed", ago(.age))]
    AuthenticationTooOld {
        /// The time since then; `None` if it is unknown.
        age: Option<Duration>,
        /// The longest time allowed.
        max_age: Duration,
    },
    /// The subject authenticated less strongly than the handler requires. See [`Session::require_assurance`].
    ///
    /// [`Session::require_assurance`]: crate::Session::require_assurance
    #[error("this asks for assurance level {required}, and the subject has {}", .level.map_or("none".to_owned(), |level| level.to_string()))]
    AssuranceTooLow {
        /// The level that the session has.
        level: Option<u8>,
        /// The level that is required.
        required: u8,
    },
    /// The session is not bound to a device, or the request does not come from its device. See
    /// [`Session::require_device`](crate::Session::require_device).
    #[error("the request does not prove a device that its session is bound to")]
    DeviceRequired,
    /// The device proved its key longer ago than the handler allows. See
    /// [`Session::require_fresh_proof`](crate::Session::require_fresh_proof).
    #[error("the device proved its key {age:?} ago, and {max_age:?} are allowed")]
    ProofTooOld {
        /// The time since the proof.
        age: Duration,
        /// The longest time allowed.
        max_age: Duration,
        /// The path and query of the request, which the browser repeats with a new proof.
        location: Option<String>,
    },
    /// The request's DPoP proof is missing or wrong, or needs a new nonce, so the request was not processed. The response
    /// says what to send: `WWW-Authenticate` and `DPoP-Nonce`. See [`Builder::dpop`](crate::Builder::dpop).
    #[error("the request's DPoP proof is refused: {reason}")]
    ProofRefused {
        /// The reason, one of a few fixed words; `nonce` if a new nonce is all that it takes.
        reason: &'static str,
    },
    /// The subject already has as many sessions as the limit allows. Nobody was logged in.
    #[error("the subject already has {limit} sessions, which is the limit; end one of them first")]
    TooManySessions {
        /// The limit.
        limit: u32,
    },
    /// The subject has no live session with this handle: it is unknown, has ended, or is another subject's.
    #[error("the subject has no session with this handle")]
    NoSuchSession,
    /// The session cannot travel as a bearer token: that transport is off, or the request came with a live session in a
    /// cookie, which never becomes a bearer token.
    #[error("the session cannot travel as a bearer token: {0}")]
    NoBearer(&'static str),
    /// The time given to [`set_not_before`](crate::SessionManager::set_not_before) lies in the future. Nothing was changed.
    #[error(
        "the time lies {ahead:?} in the future; every login would be refused until then, and it could not be taken back"
    )]
    NotBefore {
        /// The time until then, by the earlier of the clocks of this host and of the store's server.
        ahead: Duration,
    },
    /// The vault does not take the value: it is too large, or the session has too many. Nothing was changed.
    #[error("{}{source}", of_value(.key))]
    Vault {
        /// The key of the value.
        key: Option<Box<str>>,
        /// The limit that it exceeds.
        source: VaultError,
    },
    /// The value is in the vault, where [`Session::get`](crate::Session::get) cannot read it: it takes an `await`.
    #[error(
        "the value of `{key}` is in the vault: use `session.vault()`, as in `session.vault().get(\"{key}\").await`"
    )]
    InVault {
        /// The key of the value.
        key: Box<str>,
    },
    /// The session refers to a private value that the vault no longer has, or that someone else has altered there. The
    /// rest of the session is untouched: ask the user for the value again, or log them in again.
    #[error("the private value of `{key}` is lost: its store no longer has it, or not as it was put")]
    VaultLost {
        /// The key of the value.
        key: Box<str>,
    },
    /// The manager has no vault.
    #[error("there is no vault for private values; call `vault(store)` on the manager's builder")]
    NoVault,
    /// The store did not respond, or not correctly.
    #[error("the session store failed: {}", with_causes(.0))]
    Store(StoreError),
    /// The source of randomness failed.
    #[error(transparent)]
    Random(RandomError),
    /// The request did not come through the layer, middleware or fairing that carries sessions.
    #[error("{0}")]
    NoLayer(&'static str),
}

debug_as_display!(SessionError);

impl SessionError {
    /// Returns the HTTP status of a response to this error.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge { .. } | Self::Vault { .. } | Self::Data(DataError::ValueTooLarge { .. }) => 413,
            Self::Ended | Self::Conflict | Self::TooManySessions { .. } => 409,
            Self::Meta(_) | Self::Label(_) | Self::NoBearer(_) | Self::Flash { .. } | Self::NotBefore { .. } => 400,
            Self::LogInAt { .. } => 303,
            Self::ProofTooOld { location: Some(_), .. } => 307,
            Self::NotLoggedIn | Self::ProofRefused { .. } => 401,
            Self::AuthenticationTooOld { .. } | Self::AssuranceTooLow { .. } | Self::NotAllowed { .. } | Self::Csrf => {
                403
            }
            Self::DeviceRequired | Self::ProofTooOld { location: None, .. } => 403,
            Self::NoSuchSession => 404,
            Self::Store(_) | Self::Random(_) => 503,
            Self::Data(_) | Self::Finished | Self::ChangedInsideUpdate | Self::NoLayer(_) => 500,
            Self::Subject { .. } | Self::User(_) | Self::NoState { .. } => 500,
            Self::InVault { .. } | Self::VaultLost { .. } | Self::NoVault => 500,
        }
    }

    /// Returns `true` if nobody is logged in.
    #[must_use]
    pub fn is_not_logged_in(&self) -> bool {
        matches!(self, Self::NotLoggedIn | Self::LogInAt { .. })
    }

    /// Returns the value of the response's header `Location`, if the response to this error is a redirect.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        match self {
            Self::LogInAt { location } => Some(location),
            Self::ProofTooOld { location, .. } => location.as_deref(),
            _ => None,
        }
    }

    /// Returns the only text that a client sees of this error. It reveals nothing about the server's internals.
    ///
    /// In a build with `debug_assertions`, the text of [`NoLayer`](Self::NoLayer) says what is missing: its developer is
    /// the client.
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::Vault { .. } | Self::Data(DataError::ValueTooLarge { .. }) => {
                "The session is too large."
            }
            Self::Ended => "The session has ended.",
            Self::Conflict => "The session was changed at the same time. Try again.",
            Self::Meta(_) | Self::Label(_) | Self::NoBearer(_) | Self::Flash { .. } | Self::NotBefore { .. } => {
                "The request cannot be processed."
            }
            Self::NotLoggedIn | Self::LogInAt { .. } => "Log in first.",
            Self::NotAllowed { .. } => "You are not allowed to do this.",
            Self::AuthenticationTooOld { .. } | Self::AssuranceTooLow { .. } => "Authenticate again.",
            Self::DeviceRequired => "This needs a session that is bound to your device.",
            Self::ProofTooOld { .. } => "Your browser must prove your device again. Try again.",
            Self::ProofRefused { .. } => "This needs another proof of your key.",
            Self::TooManySessions { .. } => "There are too many sessions already. End one of them first.",
            Self::NoSuchSession => "There is no such session.",
            Self::NoLayer(why) if cfg!(debug_assertions) => why,
            Self::Csrf => "The request did not come from a page of this session. Reload the page and try again.",
            Self::Store(_) | Self::Random(_) => "Sessions are not available at the moment. Try again later.",
            Self::Data(_) | Self::Finished | Self::ChangedInsideUpdate | Self::NoLayer(_) => "Internal server error.",
            Self::Subject { .. } | Self::User(_) | Self::NoState { .. } => "Internal server error.",
            Self::InVault { .. } | Self::VaultLost { .. } | Self::NoVault => "Internal server error.",
        }
    }
}

impl SessionError {
    /// Creates the error of a request without a layer, and logs `why`: what is missing, and what to add. An adapter calls
    /// it where it finds no session, since a caller may drop the error.
    #[must_use]
    pub fn no_layer(why: &'static str) -> Self {
        tracing::error!(target: "secure_sessions", "{why}");
        Self::NoLayer(why)
    }

    /// Logs an error that becomes a response, in one line. An adapter calls it for every error of a handler or an
    /// extractor; the engine does it for a failed commit.
    ///
    /// | status | level | what it means |
    /// | --- | --- | --- |
    /// | 500, 503 | ERROR | the application or its store has a defect |
    /// | 400, 413 | WARN | the application stored more than fits, or used a transport that is off |
    /// | 409 | INFO | two requests met, or a session ended meanwhile: a double click, for example |
    /// | 401, 403, 404 | DEBUG | the user must log in, authenticate again, or reload the page |
    pub fn report(&self) {
        self.report_as("a handler answered with a session error");
    }

    pub(crate) fn report_as(&self, what: &'static str) {
        match self.status() {
            // Logged already, where the layer was missed.
            _ if matches!(self, Self::NoLayer(_)) => {}
            500.. => tracing::error!(target: "secure_sessions", error = %self, "{what}"),
            400 | 413 => tracing::warn!(target: "secure_sessions", error = %self, "{what}"),
            409 => tracing::info!(target: "secure_sessions", error = %self, "{what}"),
            _ => tracing::debug!(target: "secure_sessions", error = %self, "{what}"),
        }
    }

    /// Names the key whose value is refused.
    pub(crate) fn of_key(self, name: &str) -> Self {
        match self {
            Self::TooLarge { key: None, size, limit } => Self::TooLarge { key: Some(name.into()), size, limit },
            Self::Data(error) => Self::Data(error.of_key(name)),
            Self::Vault { key: None, source } => Self::Vault { key: Some(name.into()), source },
            error => error,
        }
    }
}

fn with_key(key: &Option<Box<str>>) -> String {
    key.as_ref().map_or_else(String::new, |key| format!("with the new value of `{key}` "))
}

fn of_value(key: &Option<Box<str>>) -> String {
    key.as_ref().map_or_else(String::new, |key| format!("the value of `{key}`: "))
}

fn ago(age: &Option<Duration>) -> String {
    age.map_or("at a time that is not known".to_owned(), |age| format!("{age:?} ago"))
}

/// Returns an error and all its causes in one line, for operators.
pub(crate) fn with_causes(error: &StoreError) -> String {
    format!("{error:?}")
}

impl From<DataError> for SessionError {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RandomError> for SessionError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl From<SealError> for SessionError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::TooLarge { size, limit } => Self::TooLarge { key: None, size, limit },
            SealError::Meta(error) => Self::Meta(error),
            SealError::Random(error) => Self::Random(error),
            // SealError is non-exhaustive for its users; every variant of this release is above.
            _ => Self::Random(RandomError),
        }
    }
}

impl From<VaultError> for SessionError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Random(error) => Self::Random(error),
            source => Self::Vault { key: None, source },
        }
    }
}

impl From<LabelError> for SessionError {
    fn from(error: LabelError) -> Self {
        match error {
            LabelError::Random(error) => Self::Random(error),
            error => Self::Label(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_printed_by_main_is_its_message() {
        let store = StoreError::unavailable(std::io::Error::other("connection refused"));
        let printed = format!("{:?}", SessionError::Store(store));
        assert_eq!(printed, "the session store failed: the session store is unavailable: connection refused");
        let error = crate::KeySourceError::Variable { name: crate::SEAL_KEYS_VARIABLE };
        assert_eq!(format!("{error:?}"), error.to_string());
        let printed = format!("{:?}", crate::BuildError::from(error));
        assert!(printed.starts_with("SECURE_SESSIONS_SEAL_KEYS is not set: "), "{printed}");
        assert!(printed.contains("`secure-sessions keys new --env`"), "{printed}");
    }

    #[test]
    fn a_value_that_is_too_much_is_named_with_both_sizes() {
        let error = SessionError::TooLarge { key: None, size: 4100, limit: 4000 };
        assert!(error.to_string().starts_with("the session takes 4100 bytes"), "{error}");
        let error = error.of_key("cart").of_key("other");
        assert!(error.to_string().starts_with("with the new value of `cart` the session takes 4100 bytes"), "{error}");
        assert!(error.to_string().contains("4000"), "{error}");
    }
}
