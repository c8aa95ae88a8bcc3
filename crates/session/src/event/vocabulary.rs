//! An event's name in OWASP's logging vocabulary, its severity and its details.

use std::borrow::Cow;

use crate::event::{EndReason, Event, RotationReason};

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Part of normal service.
    Info,
    /// Worth attention if there are many.
    Warning,
    /// Needs action: see the guide's chapter on [operations](crate::guide::operations).
    Critical,
}

impl Severity {
    /// Returns the severity as OWASP writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARN",
            Self::Critical => "CRITICAL",
        }
    }
}

/// The value of one of an event's details.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Detail {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(u64),
    /// A yes (`true`) or no.
    Flag(bool),
}

impl Event {
    /// Returns the event's word in OWASP's Logging Vocabulary, or one of ours that begins with `session_` if it has
    /// none.
    ///
    /// | word | for |
    /// | --- | --- |
    /// | `authn_login_success` | a session was created or renewed by a login |
    /// | `session_created`, `session_renewed` | the same without a login |
    /// | `session_expired` | it was logged out, revoked or ended by the identity provider, or reached its timeout; `reason` says which |
    /// | `session_use_after_expire` | a token of a session that had ended was presented |
    /// | `authn_token_reuse` | a dead token was presented: theft |
    /// | `crypt_decrypt_fail` | a token names a key that we do not have |
    /// | `malicious_csrf` | a CSRF token is missing or wrong, or another site caused the request |
    /// | `excess_rate_limit_exceeded` | events were left out of the log |
    #[must_use]
    pub fn owasp_name(&self) -> &'static str {
        match self {
            Self::Created { logged_in: true, .. } | Self::Renewed { login: true, .. } => "authn_login_success",
            Self::Created { logged_in: false, .. } => "session_created",
            Self::Renewed { login: false, .. } => "session_renewed",
            Self::Ended { reason: EndReason::PresentedAfterEnd, .. } => "session_use_after_expire",
            Self::Ended { .. } | Self::Expired { .. } => "session_expired",
            Self::Replayed { .. } => "authn_token_reuse",
            Self::UnknownKey { .. } | Self::LaterVersion { .. } => "crypt_decrypt_fail",
            Self::CriticalEntry { .. } => "session_critical_entry",
            Self::CrowdedOut { .. } => "session_crowded_out",
            Self::CsrfMismatch { .. } | Self::CrossOrigin { .. } => "malicious_csrf",
            Self::Suppressed { .. } => "excess_rate_limit_exceeded",
            Self::Rotated { .. } => "session_rotated",
            Self::HandedOff { .. } => "session_handed_off",
            Self::Forged { .. } => "session_forged",
            Self::Unremembered { .. } => "session_unremembered",
            Self::StoreTampered { .. } => "session_store_tampered",
            Self::VaultLost { .. } => "session_vault_lost",
            Self::Ambiguous { .. } => "session_ambiguous",
            Self::BindingMismatch { .. } => "session_binding_mismatch",
            Self::DeviceOffered { .. } => "session_device_offered",
            Self::DeviceBound { .. } => "session_device_bound",
            Self::DeviceMissing { .. } => "session_device_missing",
            Self::DeviceMismatch { .. } => "session_device_mismatch",
            Self::DeviceEndpointRefused { .. } => "session_device_endpoint_refused",
            Self::LoginRefused { .. } => "session_login_refused",
            Self::KeysChanged { .. } => "session_keys_changed",
            Self::KeyReloadFailed { .. } => "session_key_reload_failed",
            Self::NotBefore { .. } => "session_not_before",
            Self::StoreError { .. } => "session_store_error",
            Self::ConflictRetry { .. } => "session_conflict_retry",
            Self::Unreadable { .. } => "session_unreadable",
        }
    }

    /// Returns the event's severity.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Forged { .. }
            | Self::StoreTampered { .. }
            | Self::VaultLost { altered: true, .. }
            | Self::Replayed { .. }
            | Self::DeviceMismatch { .. } => Severity::Critical,
            Self::Unremembered { .. }
            | Self::VaultLost { altered: false, .. }
            | Self::UnknownKey { .. }
            | Self::LaterVersion { .. }
            | Self::CriticalEntry { .. }
            | Self::CrowdedOut { .. }
            | Self::Ambiguous { .. }
            | Self::BindingMismatch { .. }
            | Self::DeviceMissing { .. }
            | Self::DeviceEndpointRefused { .. }
            | Self::LoginRefused { .. }
            | Self::KeyReloadFailed { .. }
            | Self::StoreError { .. }
            | Self::Unreadable { .. }
            | Self::CsrfMismatch { .. }
            | Self::CrossOrigin { .. }
            | Self::Suppressed { .. }
            | Self::Ended { reason: EndReason::PresentedAfterEnd, .. } => Severity::Warning,
            Self::Created { .. }
            | Self::Rotated { .. }
            | Self::Renewed { .. }
            | Self::HandedOff { .. }
            | Self::Ended { .. }
            | Self::Expired { .. }
            | Self::DeviceOffered { .. }
            | Self::DeviceBound { .. }
            | Self::KeysChanged { .. }
            | Self::NotBefore { .. }
            | Self::ConflictRetry { .. } => Severity::Info,
        }
    }

    /// Returns the cause that tells two events of one name apart. It is one of a few fixed words, fit for a counter's
    /// label.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Created { logged_in, .. } => login(*logged_in),
            Self::Renewed { login: logged_in, .. } => login(*logged_in),
            Self::Rotated { reason: RotationReason::Changed, .. } => "changed",
            Self::Rotated { reason: RotationReason::Interval, .. } => "interval",
            Self::Rotated { reason: RotationReason::CompromisedKey, .. } => "compromised_key",
            Self::Ended { reason: EndReason::Logout, .. } => "logout",
            Self::Ended { reason: EndReason::Revoked, .. } => "revoked",
            Self::Ended { reason: EndReason::ProviderLogout, .. } => "provider_logout",
            Self::Ended { reason: EndReason::Evicted, .. } => "evicted",
            Self::Ended { reason: EndReason::Replaced, .. } => "replaced",
            Self::Ended { reason: EndReason::PresentedAfterEnd, .. } => "presented_after_end",
            Self::Expired { .. } => "timeout",
            Self::Replayed { revoked: true, .. } => "revoked",
            Self::Replayed { revoked: false, .. } => "refused",
            Self::VaultLost { altered: true, .. } => "altered",
            Self::VaultLost { altered: false, .. } => "missing",
            Self::StoreError { operation, .. } => operation,
            Self::CrossOrigin { reason, .. } => reason.name(),
            Self::Suppressed { event, .. } => event,
            Self::DeviceMissing { skipped: Some(skipped), .. } => skipped.name(),
            Self::DeviceEndpointRefused { reason } => reason,
            Self::LaterVersion { .. } => "later_version",
            Self::CriticalEntry { .. }
            | Self::CrowdedOut { .. }
            | Self::HandedOff { .. }
            | Self::Forged { .. }
            | Self::Unremembered { .. }
            | Self::StoreTampered { .. }
            | Self::UnknownKey { .. }
            | Self::Ambiguous { .. }
            | Self::BindingMismatch { .. }
            | Self::DeviceOffered { .. }
            | Self::DeviceBound { .. }
            | Self::DeviceMissing { skipped: None, .. }
            | Self::DeviceMismatch { .. }
            | Self::LoginRefused { .. }
            | Self::KeysChanged { .. }
            | Self::KeyReloadFailed { .. }
            | Self::NotBefore { .. }
            | Self::ConflictRetry { .. }
            | Self::Unreadable { .. }
            | Self::CsrfMismatch { .. } => "",
        }
    }

    /// Returns the event's details besides its session and its cause, under names that do not change.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, Detail)> {
        let text = |text: String| Detail::Text(Cow::Owned(text));
        match self {
            Self::Rotated { generation, .. } => vec![("generation", Detail::Number((*generation).into()))],
            Self::Renewed { old, .. } => vec![("old", text(old.to_string()))],
            Self::Ended { count, .. } => vec![("count", Detail::Number(*count))],
            Self::Replayed { revoked, .. } => vec![("revoked", Detail::Flag(*revoked))],
            Self::Forged { kind, key } | Self::UnknownKey { kind, key } => {
                vec![("kind", text(kind.to_string())), ("key", text(key.to_string()))]
            }
            Self::Ambiguous { count } => {
                vec![("count", Detail::Number(u64::try_from(*count).unwrap_or(u64::MAX)))]
            }
            Self::LoginRefused { limit } => vec![("limit", Detail::Number((*limit).into()))],
            Self::KeysChanged { seal, fingerprint, compromised } => vec![
                ("seal", text(seal.to_string())),
                ("fingerprint", text(fingerprint.to_string())),
                ("compromised", Detail::Number(u64::try_from(*compromised).unwrap_or(u64::MAX))),
            ],
            Self::StoreError { message, .. } | Self::KeyReloadFailed { message } => {
                vec![("message", text(message.clone()))]
            }
            Self::NotBefore { at } => vec![("at", Detail::Number(at.as_millis()))],
            Self::ConflictRetry { attempt, .. } => vec![("attempt", Detail::Number((*attempt).into()))],
            Self::CrossOrigin { origin, refused, .. } => {
                let mut details = vec![("refused", Detail::Flag(*refused))];
                details.extend(origin.as_ref().map(|origin| ("origin", text(origin.to_string()))));
                details
            }
            Self::Unreadable { fields, .. } => vec![("fields", text(fields.join(", ")))],
            Self::Suppressed { count, .. } => vec![("count", Detail::Number(*count))],
            Self::LaterVersion { version } => vec![("version", Detail::Number((*version).into()))],
            Self::CriticalEntry { key } => vec![("entry", Detail::Number(*key))],
            Self::Created { .. }
            | Self::HandedOff { .. }
            | Self::Expired { .. }
            | Self::Unremembered { .. }
            | Self::StoreTampered { .. }
            | Self::VaultLost { .. }
            | Self::CrowdedOut { .. }
            | Self::BindingMismatch { .. }
            | Self::DeviceOffered { .. }
            | Self::DeviceBound { .. }
            | Self::DeviceMissing { .. }
            | Self::DeviceMismatch { .. }
            | Self::DeviceEndpointRefused { .. }
            | Self::CsrfMismatch { .. } => Vec::new(),
        }
    }
}

fn login(logged_in: bool) -> &'static str {
    if logged_in { "login" } else { "anonymous" }
}
