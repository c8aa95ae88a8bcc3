//! The events for operators: one type for everything that matters.

use secure_sessions_core::{Handle, KeyId, KeyKind, Timestamp};

use self::device::DeviceSkipped;
use self::measure::Measure;
use self::origin::{CrossOriginReason, Origin};

pub(crate) mod audit;
#[cfg(feature = "metrics")]
pub(crate) mod counters;
pub(crate) mod device;
mod log;
pub(crate) mod measure;
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

    /// Receives a measurement, if it [wants them](Self::wants_measures). The default ignores it.
    fn measure(&self, _measure: &Measure) {}

    /// Returns `true` if the engine is to measure for this observer. It asks once, when the manager is built. The default is
    /// `false`, for which nothing is measured.
    fn wants_measures(&self) -> bool {
        false
    }
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
    /// The identity provider ended its session, from which the login had come.
    ProviderLogout,
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
    /// A session refers to a private value that its store no longer has (it was evicted, or a backup was restored), or
    /// that is not as it was put: someone else has write access to the store.
    VaultLost {
        /// The session.
        session: Handle,
        /// `true` if the store returned other bytes than were put.
        altered: bool,
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
    /// The response to a login offered to bind its session to a device.
    DeviceOffered {
        /// The session.
        session: Handle,
    },
    /// A session was bound to a device.
    DeviceBound {
        /// The session.
        session: Handle,
    },
    /// A request of a session that is bound to a device proved no device, so it was served as an anonymous one: the
    /// browser could not renew its ticket, or the cookie was stolen. Also a bearer token under the wrong scheme: a bound one
    /// under `Bearer`, or an unbound one under `DPoP`.
    DeviceMissing {
        /// The session.
        session: Handle,
        /// The browser's reason for not renewing its ticket; `None` if it gave none.
        skipped: Option<DeviceSkipped>,
    },
    /// A request of a session that is bound to a device proved another one, so it was served as an anonymous one: the
    /// cookie was stolen. A browser that logs in twice at once can raise it too, for one request.
    DeviceMismatch {
        /// The session.
        session: Handle,
    },
    /// A request to register a device or to renew its ticket, or one with a DPoP proof, was refused for its proof, and not
    /// because that had become too old.
    DeviceEndpointRefused {
        /// The reason, one of a few fixed words.
        reason: &'static str,
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
    /// Tokens issued before a later time than until now are refused from now on: this process called
    /// [`set_not_before`](crate::SessionManager::set_not_before), or has learnt from the store that another one did.
    NotBefore {
        /// The time.
        at: Timestamp,
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
        "vault_lost",
        "unknown_key",
        "critical_entry",
        "crowded_out",
        "ambiguous",
        "binding_mismatch",
        "device_offered",
        "device_bound",
        "device_missing",
        "device_mismatch",
        "device_endpoint_refused",
        "login_refused",
        "keys_changed",
        "key_reload_failed",
        "not_before",
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
            Self::VaultLost { .. } => "vault_lost",
            Self::UnknownKey { .. } | Self::LaterVersion { .. } => "unknown_key",
            Self::CriticalEntry { .. } => "critical_entry",
            Self::CrowdedOut { .. } => "crowded_out",
            Self::Ambiguous { .. } => "ambiguous",
            Self::BindingMismatch { .. } => "binding_mismatch",
            Self::DeviceOffered { .. } => "device_offered",
            Self::DeviceBound { .. } => "device_bound",
            Self::DeviceMissing { .. } => "device_missing",
            Self::DeviceMismatch { .. } => "device_mismatch",
            Self::DeviceEndpointRefused { .. } => "device_endpoint_refused",
            Self::LoginRefused { .. } => "login_refused",
            Self::KeysChanged { .. } => "keys_changed",
            Self::KeyReloadFailed { .. } => "key_reload_failed",
            Self::NotBefore { .. } => "not_before",
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
            Self::KeysChanged { .. } | Self::DeviceBound { .. } | Self::NotBefore { .. } | Self::Suppressed { .. } => {
                false
            }
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
            | Self::VaultLost { session, .. }
            | Self::CrowdedOut { session }
            | Self::BindingMismatch { session }
            | Self::DeviceOffered { session }
            | Self::DeviceBound { session }
            | Self::DeviceMissing { session, .. }
            | Self::DeviceMismatch { session }
            | Self::ConflictRetry { session, .. } => Some(*session),
            Self::Ended { session, .. } | Self::CsrfMismatch { session } | Self::Unreadable { session, .. } => *session,
            Self::Forged { .. }
            | Self::UnknownKey { .. }
            | Self::LaterVersion { .. }
            | Self::CriticalEntry { .. }
            | Self::Ambiguous { .. }
            | Self::DeviceEndpointRefused { .. }
            | Self::LoginRefused { .. }
            | Self::KeysChanged { .. }
            | Self::KeyReloadFailed { .. }
            | Self::NotBefore { .. }
            | Self::StoreError { .. }
            | Self::CrossOrigin { .. }
            | Self::Suppressed { .. } => None,
        }
    }
}
