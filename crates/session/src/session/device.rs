//! The device that a session is bound to, as a handler sees it.

use std::time::Duration;

use crate::error::SessionError;
use crate::request::device::Standing;
use crate::session::Session;
use crate::session::access::local_path;
use crate::transport::Transport;

/// The relation of a request to the device that its session is bound to: see [`DeviceBound`](crate::DeviceBound).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The session is bound to no device: its browser does not support it, or has not registered a key yet.
    Unbound,
    /// The session is bound, and the request comes from its device.
    Bound,
    /// The request came with the cookie of a bound session and without a ticket of its device, so it is anonymous.
    Missing,
}

impl Session {
    /// Returns how this request stands to the device that its session is bound to. After a login or a logout in this
    /// request, saved or not, that is [`Device::Unbound`].
    ///
    /// ```
    /// # use secure_sessions::{Device, Session};
    /// fn hint(session: &Session) -> &'static str {
    ///     match session.device() {
    ///         Device::Bound => "Your session is bound to this device.",
    ///         Device::Missing => "Your browser could not prove this device. Reload the page in a moment.",
    ///         _ => "Your session is not bound to this device.",
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn device(&self) -> Device {
        match self.standing() {
            Standing::Bound { .. } | Standing::Adopts { .. } => Device::Bound,
            Standing::Missing | Standing::Mismatch => Device::Missing,
            Standing::Unbound | Standing::Early => Device::Unbound,
        }
    }

    /// Refuses a request whose session is not bound to its device. Put it, with `?`, in front of an action that a stolen
    /// cookie must not reach: the cookie of an unbound session is all that an attacker needs.
    ///
    /// ```
    /// # use secure_sessions::{Session, SessionError};
    /// fn export(session: &Session) -> Result<(), SessionError> {
    ///     session.require_device()?;
    ///     // ...
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::DeviceRequired`] (403). A browser that supports the binding registers its key within seconds of
    /// the login.
    pub fn require_device(&self) -> Result<(), SessionError> {
        if self.device() == Device::Bound { Ok(()) } else { Err(SessionError::DeviceRequired) }
    }

    /// Refuses a request whose device proved its key longer than `max_age` ago, and sends the browser to prove it now:
    /// the response takes the ticket away and redirects to `target`, the path and query of this very request, by 307.
    /// The browser signs, and then repeats the request with its body. An attacker with a stolen ticket loses it.
    ///
    /// Each proof is a signature, and a browser makes at most 6 for a site in 9 minutes: use it in front of rare,
    /// dangerous actions.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use secure_sessions::{Session, SessionError};
    /// fn transfer(session: &Session, path_and_query: &str) -> Result<(), SessionError> {
    ///     session.require_fresh_proof(Duration::from_secs(60), path_and_query)?;
    ///     // ...
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::DeviceRequired`] (403) if the session is not bound, or the device is not proved at all;
    /// [`SessionError::ProofRefused`] (401, with a new nonce) if the key was proved by DPoP;
    /// [`SessionError::ProofTooOld`], 307, or 403 if `target` is no path of this site.
    pub fn require_fresh_proof(&self, max_age: Duration, target: &str) -> Result<(), SessionError> {
        let (Standing::Bound { proved_at } | Standing::Adopts { proved_at, .. }) = self.standing() else {
            return Err(SessionError::DeviceRequired);
        };
        let age = Duration::from(self.request().manager.now().since(proved_at));
        if age <= max_age {
            return Ok(());
        }
        // A client that signs by itself signs again at a new nonce. It is no browser that follows a redirect.
        if self.transport() == Transport::Bearer {
            self.state().remove_ticket = true;
            return Err(SessionError::ProofRefused { reason: "nonce" });
        }
        let location = local_path(target).map(str::to_owned);
        // Without a way back the ticket stays: its removal would only cost the browser a signature.
        if location.is_some() {
            self.state().remove_ticket = true;
        }
        Err(SessionError::ProofTooOld { age, max_age, location })
    }

    fn standing(&self) -> Standing {
        let state = self.state();
        // A login begins a session that is not bound yet, and an ended one has no device.
        let keeps = state.pending.settings.login.is_none() && state.pending.ending.is_none();
        if keeps { state.device } else { Standing::Unbound }
    }
}
