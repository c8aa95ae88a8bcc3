//! The events for operators: one type for everything that matters.

use std::fmt;

use secure_sessions_core::{Handle, KeyId, KeyKind};

use self::origin::{CrossOriginReason, Origin};

pub(crate) mod audit;
#[cfg(feature = "metrics")]
pub(crate) mod counters;
pub(crate) mod origin;
pub(crate) mod throttle;
pub(crate) mod vocabulary;

/// Receives every event, synchronously: it must be quick and must not block.
///
/// Every event also goes to `tracing`, target `secure_sessions`, with the field `event` as [`Event::name`] returns it.
/// The [`event_limit`](crate::Builder::event_limit) limits the lines of events that an attacker could flood the log
/// with. An observer sees all events: wrap one that a flood would fill in [`Throttled`](crate::Throttled).
pub trait Observer: Send + Sync + 'static {
    /// Receives one event. An event never holds a token, a key or a payload, and ids only as keyed [`Handle`]s.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// The reason why a session got its next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RotationReason {
    /// Its data or settings changed.
    Changed,
    /// The rotation interval passed.
    Interval,
    /// The token was made with a compromised key.
    CompromisedKey,
}

/// The reason why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Its holder logged out.
    Logout,
    /// Its subject or an administrator revoked it.
    Revoked,
    /// Its subject logged in once more than the limit of sessions allows, and this was the oldest.
    Evicted,
    /// The browser that presented it, along with another live session, logged in.
    Replaced,
    /// A token of a session that had ended before was presented; it was refused.
    PresentedAfterEnd,
}

/// Something that an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session was created.
    Created {
        /// The session.
        session: Handle,
        /// `true` if it belongs to a subject.
        logged_in: bool,
    },
    /// A session got its next token.
    Rotated {
        /// The session.
        session: Handle,
        /// The new token's generation, which counts the session's tokens.
        generation: u32,
        /// The reason.
        reason: RotationReason,
    },
    /// A session moved to a new id; the old one ended.
    Renewed {
        /// The old session.
        old: Handle,
        /// The new session.
        session: Handle,
        /// `true` if a login caused it.
        login: bool,
        /// `true` if the session belongs to a subject.
        logged_in: bool,
    },
    /// The holder of a superseded token was given the newest.
    HandedOff {
        /// The session.
        session: Handle,
    },
    /// A session ended.
    Ended {
        /// The session; `None` if more than one was ended at once.
        session: Option<Handle>,
        /// The number of sessions that ended.
        count: u64,
        /// The reason.
        reason: EndReason,
        /// `true` if the session belonged to a subject, or may have because more than one was ended at once. `false`
        /// for [`EndReason::PresentedAfterEnd`], when this is no longer known.
        logged_in: bool,
    },
    /// A token past one of its session's deadlines was refused.
    Expired {
        /// The session.
        session: Handle,
    },
    /// A dead token was presented, so somebody holds a copy: an attacker, or a user whose cookie jar was rolled back.
    Replayed {
        /// The session.
        session: Handle,
        /// `true` if the session was revoked.
        revoked: bool,
    },
    /// A token was made with one of our keys, but not by us: **the key has leaked**. Nothing was changed.
    ///
    /// A user can damage the last 16 bytes of their own genuine cookie. As long as its session lives, its bucket tells
    /// it apart from a forgery, and no event is raised. Once the session has ended, the two look the same, so a single
    /// event from one address may be mischief. The safe answer is to replace the key and list it as compromised, which
    /// costs no user anything.
    Forged {
        /// The kind of the key.
        kind: KeyKind,
        /// The key.
        key: KeyId,
    },
    /// A token that we issued is newer than its bucket: the store lost writes.
    Unremembered {
        /// The session.
        session: Handle,
    },
    /// A bucket differs from what we wrote: someone else has write access to the store.
    StoreTampered {
        /// The session.
        session: Handle,
    },
    /// A token names a key that is not in the keyring.
    UnknownKey {
        /// The kind of the key.
        kind: KeyKind,
        /// The key.
        key: KeyId,
    },
    /// A token has a later version of the format: another host runs a newer release. The browser's cookie is left
    /// alone. The event has the name of [`UnknownKey`](Self::UnknownKey), since it means the same: this host cannot
    /// read the token yet.
    LaterVersion {
        /// The token's version.
        version: u8,
    },
    /// A token has an entry that this release does not know and must not ignore: another host runs a newer one. The
    /// browser's cookie is left alone.
    CriticalEntry {
        /// The number of the entry.
        key: u64,
    },
    /// A superseded token was refused because its session had no room left to remember it: more than 128 responses were
    /// under way at once. It is no reason for an alarm, and nothing was revoked.
    CrowdedOut {
        /// The session.
        session: Handle,
    },
    /// One request brought more than one live session; it was served as an anonymous one.
    Ambiguous {
        /// The number of live sessions.
        count: usize,
    },
    /// A session came from a client whose properties differ from those that it is bound to.
    BindingMismatch {
        /// The session.
        session: Handle,
    },
    /// A login was refused: its subject has as many sessions as the limit allows.
    LoginRefused {
        /// The limit.
        limit: u32,
    },
    /// Other keys are active from now on.
    KeysChanged {
        /// The active seal key.
        seal: KeyId,
        /// The active fingerprint key.
        fingerprint: KeyId,
        /// The number of compromised keys in the ring.
        compromised: usize,
    },
    /// The keys could not be loaded again; the current ones stay.
    KeyReloadFailed {
        /// The reason, which never holds a key.
        message: String,
    },
    /// The store failed.
    StoreError {
        /// The name of the method that failed.
        operation: &'static str,
        /// The error and its causes.
        message: String,
    },
    /// A commit conflicted with another one and is retried.
    ConflictRetry {
        /// The session.
        session: Handle,
        /// The number of this commit's tries so far.
        attempt: u32,
    },
    /// A session holds fields of another type than this release reads, so they count as their default: see
    /// [`Typed::or_default`](crate::Typed::or_default). A release changed their type.
    Unreadable {
        /// The session; `None` if the request has none.
        session: Option<Handle>,
        /// The names of the fields, as far as they are fields of the type's default.
        fields: Vec<String>,
    },
    /// A request came without a CSRF token of its session where one is required.
    CsrfMismatch {
        /// The session; `None` if the request has none.
        session: Option<Handle>,
    },
    /// A browser sent a request that another site caused.
    CrossOrigin {
        /// The reason why it counts as caused by another site.
        reason: CrossOriginReason,
        /// The origin that caused it, if the browser named one and it is well-formed.
        origin: Option<Origin>,
        /// `true` if it was refused, `false` if it was only reported.
        refused: bool,
    },
    /// Events of one kind were left out of a log because there were too many: see [`EventLimit`](crate::EventLimit).
    /// Observers see every event, and so never get this one, except behind a [`Throttled`](crate::Throttled).
    Suppressed {
        /// The [name](Event::name) of their kind.
        event: &'static str,
        /// The number of events left out.
        count: u64,
    },
}

impl Event {
    /// The names of all events.
    pub const NAMES: &[&str] = &[
        "created",
        "rotated",
        "renewed",
        "handed_off",
        "ended",
        "expired",
        "replayed",
        "forged",
        "unremembered",
        "store_tampered",
        "unknown_key",
        "critical_entry",
        "crowded_out",
        "ambiguous",
        "binding_mismatch",
        "login_refused",
        "keys_changed",
        "key_reload_failed",
        "store_error",
        "conflict_retry",
        "unreadable",
        "csrf_mismatch",
        "cross_origin",
        "suppressed",
    ];

    /// Returns the event's stable name, in snake case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Rotated { .. } => "rotated",
            Self::Renewed { .. } => "renewed",
            Self::HandedOff { .. } => "handed_off",
            Self::Ended { .. } => "ended",
            Self::Expired { .. } => "expired",
            Self::Replayed { .. } => "replayed",
            Self::Forged { .. } => "forged",
            Self::Unremembered { .. } => "unremembered",
            Self::StoreTampered { .. } => "store_tampered",
            Self::UnknownKey { .. } | Self::LaterVersion { .. } => "unknown_key",
            Self::CriticalEntry { .. } => "critical_entry",
            Self::CrowdedOut { .. } => "crowded_out",
            Self::Ambiguous { .. } => "ambiguous",
            Self::BindingMismatch { .. } => "binding_mismatch",
            Self::LoginRefused { .. } => "login_refused",
            Self::KeysChanged { .. } => "keys_changed",
            Self::KeyReloadFailed { .. } => "key_reload_failed",
            Self::StoreError { .. } => "store_error",
            Self::ConflictRetry { .. } => "conflict_retry",
            Self::Unreadable { .. } => "unreadable",
            Self::CsrfMismatch { .. } => "csrf_mismatch",
            Self::CrossOrigin { .. } => "cross_origin",
            Self::Suppressed { .. } => "suppressed",
        }
    }

    /// Returns `true` if an attacker without an account can raise it as often as they like, so that a log must not
    /// write each one.
    ///
    /// Logins, logouts and revocations of logged-in sessions are never left out of a log. Neither is a replay that
    /// revoked its session: a session can be revoked only once.
    #[must_use]
    pub fn may_be_flooded(&self) -> bool {
        match self {
            Self::Created { logged_in, .. } | Self::Renewed { logged_in, .. } | Self::Ended { logged_in, .. } => {
                !logged_in
            }
            Self::Replayed { revoked, .. } => !revoked,
            Self::KeysChanged { .. } | Self::Suppressed { .. } => false,
            _ => true,
        }
    }

    /// Returns the session that the event is about, or `None` if it is about no single session.
    #[must_use]
    pub fn session(&self) -> Option<Handle> {
        match self {
            Self::Created { session, .. }
            | Self::Rotated { session, .. }
            | Self::Renewed { session, .. }
            | Self::HandedOff { session }
            | Self::Expired { session }
            | Self::Replayed { session, .. }
            | Self::Unremembered { session }
            | Self::StoreTampered { session }
            | Self::CrowdedOut { session }
            | Self::BindingMismatch { session }
            | Self::ConflictRetry { session, .. } => Some(*session),
            Self::Ended { session, .. } | Self::CsrfMismatch { session } | Self::Unreadable { session, .. } => *session,
            Self::Forged { .. }
            | Self::UnknownKey { .. }
            | Self::LaterVersion { .. }
            | Self::CriticalEntry { .. }
            | Self::Ambiguous { .. }
            | Self::LoginRefused { .. }
            | Self::KeysChanged { .. }
            | Self::KeyReloadFailed { .. }
            | Self::StoreError { .. }
            | Self::CrossOrigin { .. }
            | Self::Suppressed { .. } => None,
        }
    }

    pub(crate) fn trace(&self) {
        let (event, session) = (self.name(), self.session().map(tracing::field::display));
        macro_rules! emit {
            ($level:ident) => { tracing::$level!(target: "secure_sessions", event, session, "{self}") };
        }
        match self {
            Self::Forged { .. } | Self::StoreTampered { .. } | Self::KeyReloadFailed { .. } => emit!(error),
            Self::Replayed { .. }
            | Self::Unremembered { .. }
            | Self::UnknownKey { .. }
            | Self::LaterVersion { .. }
            | Self::CriticalEntry { .. }
            | Self::Ambiguous { .. }
            | Self::BindingMismatch { .. }
            | Self::LoginRefused { .. }
            | Self::StoreError { .. }
            | Self::Unreadable { .. }
            | Self::CsrfMismatch { .. }
            | Self::CrossOrigin { .. }
            | Self::Suppressed { .. } => emit!(warn),
            Self::Created { .. } | Self::Renewed { .. } | Self::KeysChanged { .. } => emit!(info),
            Self::Ended { reason, .. } if *reason != EndReason::PresentedAfterEnd => emit!(info),
            _ => emit!(debug),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { logged_in: true, .. } => f.write_str("a logged-in session was made"),
            Self::Created { logged_in: false, .. } => f.write_str("a session was made"),
            Self::Rotated { generation, reason, .. } => {
                let why = match reason {
                    RotationReason::Changed => "its content changed",
                    RotationReason::Interval => "the rotation interval passed",
                    RotationReason::CompromisedKey => "its key is compromised",
                };
                write!(f, "the session got token {generation}: {why}")
            }
            Self::Renewed { login: true, .. } => f.write_str("the session got a new id at login"),
            Self::Renewed { login: false, .. } => f.write_str("the session got a new id"),
            Self::HandedOff { .. } => f.write_str("a client with a superseded token was given the newest"),
            Self::Ended { reason: EndReason::Logout, .. } => f.write_str("the session was logged out"),
            Self::Ended { reason: EndReason::Revoked, count, .. } => write!(f, "{count} session(s) revoked"),
            Self::Ended { reason: EndReason::Evicted, .. } => {
                f.write_str("the oldest session of a subject was ended: it logged in once more than the limit allows")
            }
            Self::Ended { reason: EndReason::Replaced, .. } => {
                f.write_str("the session was ended: its browser presented another one too, and logged in")
            }
            Self::Ended { reason: EndReason::PresentedAfterEnd, .. } => {
                f.write_str("a token of a session that had ended was refused")
            }
            Self::Expired { .. } => f.write_str("an expired session was refused"),
            Self::Replayed { revoked: true, .. } => {
                f.write_str("a dead token was presented: its session was revoked, someone holds a copy of the cookie")
            }
            Self::Replayed { revoked: false, .. } => {
                f.write_str("a dead token was presented and refused: someone holds a copy of the cookie")
            }
            Self::Forged { kind, key } => {
                write!(
                    f,
                    "a forged token was refused: {kind} key {key} HAS LEAKED. Replace it and list it as compromised"
                )
            }
            Self::Unremembered { .. } => {
                f.write_str("the store does not remember a token that we issued: it lost writes")
            }
            Self::StoreTampered { .. } => {
                f.write_str("a bucket is not as we wrote it: someone else writes to the store")
            }
            Self::UnknownKey { kind, key } => write!(f, "a token names {kind} key {key}, which is not in the keyring"),
            Self::LaterVersion { version } => {
                write!(
                    f,
                    "a token has version {version} of the format, which this release does not know: update this host"
                )
            }
            Self::CriticalEntry { key } => {
                write!(f, "a token has the critical entry {key}, which this release does not know: update this host")
            }
            Self::CrowdedOut { .. } => f.write_str(
                "a superseded token was refused: more responses were under way at once than a session remembers",
            ),
            Self::Ambiguous { count } => write!(f, "{count} live sessions came in one request: served as anonymous"),
            Self::BindingMismatch { .. } => f.write_str("a session came from a client that it is not bound to"),
            Self::LoginRefused { limit } => {
                write!(f, "a login was refused: its subject already has {limit} session(s), which is the limit")
            }
            Self::KeysChanged { seal, fingerprint, compromised } => write!(
                f,
                "other keys are in force: seal key {seal} and fingerprint key {fingerprint} are active, {compromised} compromised"
            ),
            Self::KeyReloadFailed { message } => {
                write!(f, "the keys could not be loaded again, those in force stay: {message}")
            }
            Self::StoreError { operation, message } => write!(f, "the store failed at `{operation}`: {message}"),
            Self::ConflictRetry { attempt, .. } => write!(f, "another commit was faster: try {attempt}"),
            Self::Unreadable { fields, .. } => write!(
                f,
                "the session holds fields of another type than this release reads; they count as their default: {}",
                fields.join(", ")
            ),
            Self::CsrfMismatch { .. } => f.write_str("a request came without a CSRF token of its session"),
            Self::CrossOrigin { reason, origin, refused } => {
                let outcome = if *refused { "refused" } else { "let through, since the check only reports" };
                write!(f, "a request that another site caused was {outcome}: {reason}")?;
                origin.as_ref().map_or(Ok(()), |origin| write!(f, " ({origin})"))
            }
            Self::Suppressed { event, count } => write!(f, "{count} more event(s) `{event}` were not logged"),
        }
    }
}
