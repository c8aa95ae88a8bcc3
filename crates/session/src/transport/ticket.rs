//! The cookie with a device's ticket, and the settings of the sessions that are bound to one.

use std::sync::atomic::{AtomicBool, Ordering};

use secure_sessions_core::{DevicePolicy, Millis};

use crate::config::build_error::BuildError;
use crate::config::device::DeviceSettings;
use crate::transport::cookie::CookieConfig;

/// The binding of sessions to devices, as configured.
#[derive(Debug)]
pub(crate) struct Devices {
    pub(crate) settings: DeviceSettings,
    pub(crate) policy: DevicePolicy,
    pub(crate) cookie: TicketCookie,
    /// `true` once an adapter has asked for the endpoint.
    answered: AtomicBool,
}

impl Devices {
    /// Records that an adapter answers the browser's own requests.
    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if logins offer to bind their session, and an adapter answers the browsers that accept.
    pub(crate) fn offers(&self) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        if self.settings.offers && !answered {
            tracing::error!(
                target: "secure_sessions",
                "device_bound: no session is bound, because nobody answers the browser's requests to {}: in Axum, add `.layer(DeviceLayer::new(manager))` last",
                self.settings.path
            );
        }
        self.settings.offers && answered
    }

    /// Puts checked settings and the session's cookie together, if browsers support the two together.
    pub(crate) fn new(settings: DeviceSettings, cookie: &CookieConfig, grace: Millis) -> Result<Self, BuildError> {
        let refuse = |problem| Err(BuildError::Device { problem });
        if !cookie.secure {
            return refuse("browsers bind sessions over https only; keep `secure(true)`");
        }
        if cookie.partitioned {
            return refuse("browsers bind no `partitioned` cookie; turn one of the two off");
        }
        if cookie.domain.is_some() {
            return refuse("a cookie with a `domain` cannot be bound yet; leave the domain out");
        }
        let policy = DevicePolicy { ticket_life: settings.ticket_life, grace };
        let cookie = TicketCookie::new(cookie, settings.ticket_life);
        Ok(Self { settings, policy, cookie, answered: AtomicBool::new(false) })
    }
}

/// Writes the `Set-Cookie` of tickets. Their cookie has the attributes of the session's, except that scripts never see
/// it.
#[derive(Debug)]
pub(crate) struct TicketCookie {
    pub(crate) name: String,
    /// Without `Max-Age`, which the browser is not told twice.
    pub(crate) attributes: String,
    life: u64,
    removal: String,
}

impl TicketCookie {
    fn new(session: &CookieConfig, life: Millis) -> Self {
        let name = format!("{}-device", session.name);
        let attributes = CookieConfig { http_only: true, ..session.clone() }.attributes();
        let attributes = attributes.trim_start_matches("; ").to_owned();
        let removal = format!("{name}=; {attributes}; Max-Age=0");
        Self { name, attributes, life: life.get() / 1000, removal }
    }

    /// Returns the header's value that sets the cookie, for the ticket's life.
    pub(crate) fn set(&self, ticket: &str) -> String {
        let Self { name, attributes, life, .. } = self;
        format!("{name}={ticket}; {attributes}; Max-Age={life}")
    }

    pub(crate) fn remove(&self) -> &str {
        &self.removal
    }
}
