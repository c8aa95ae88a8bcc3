//! The log lines: `trace` chooses the level of each event, and `Display` writes its sentence.

use std::fmt;

use super::{EndReason, Event, RotationReason};

impl Event {
    /// Writes the event to the log.
    pub(crate) fn trace(&self) {
        let (event, session) = (self.name(), self.session().map(tracing::field::display));
        macro_rules! emit {
            ($level:ident) => { tracing::$level!(target: "secure_sessions", event, session, "{self}") };
        }
        match self {
            Self::Forged { .. }
            | Self::StoreTampered { .. }
            | Self::VaultLost { .. }
            | Self::KeyReloadFailed { .. } => emit!(error),
            Self::Replayed { .. }
            | Self::Unremembered { .. }
            | Self::UnknownKey { .. }
            | Self::LaterVersion { .. }
            | Self::CriticalEntry { .. }
            | Self::Ambiguous { .. }
            | Self::BindingMismatch { .. }
            | Self::DeviceMissing { .. }
            | Self::DeviceMismatch { .. }
            | Self::DeviceEndpointRefused { .. }
            | Self::LoginRefused { .. }
            | Self::StoreError { .. }
            | Self::Unreadable { .. }
            | Self::CsrfMismatch { .. }
            | Self::CrossOrigin { .. }
            | Self::Suppressed { .. } => emit!(warn),
            Self::Created { .. }
            | Self::Renewed { .. }
            | Self::DeviceBound { .. }
            | Self::KeysChanged { .. }
            | Self::NotBefore { .. } => {
                emit!(info);
            }
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
            Self::Ended { reason: EndReason::ProviderLogout, count, .. } => {
                write!(f, "{count} session(s) ended: their identity provider ended the session that they came from")
            }
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
            Self::VaultLost { altered: false, .. } => {
                f.write_str("a private value of the session is lost: its store no longer has it")
            }
            Self::VaultLost { altered: true, .. } => f.write_str(
                "a private value of the session is lost: it is not as it was put, so someone else writes to its store",
            ),
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
            Self::DeviceOffered { .. } => f.write_str("a login offered to bind its session to a device"),
            Self::DeviceBound { .. } => f.write_str("the session was bound to a device"),
            Self::DeviceMissing { skipped: None, .. } => {
                f.write_str("a request of a session that is bound to a device proved none")
            }
            Self::DeviceMissing { skipped: Some(skipped), .. } => {
                write!(f, "a request of a session that is bound to a device proved none; its browser says: {skipped}")
            }
            Self::DeviceMismatch { .. } => {
                f.write_str("theft: a request of a session that is bound to a device proved another one")
            }
            Self::DeviceEndpointRefused { reason } => {
                write!(f, "a device's proof, or its request for a ticket, was refused: {reason}")
            }
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
            Self::NotBefore { at } => write!(f, "tokens issued before {at} are refused from now on"),
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
