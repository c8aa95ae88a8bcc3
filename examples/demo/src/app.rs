//! The state that the handlers share.

use secure_sessions_axum::{Clock, ManualClock, SessionManager};

use crate::events::EventRing;
use crate::keys::KeyFile;
use crate::lab::Lab;
use crate::lockout::Lockout;
use crate::second_factor::SecondFactor;
use crate::shutdown::Stopping;
use crate::users::Users;
use crate::when;

/// The state that the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The accounts that may log in.
    pub users: Users,
    /// The sessions of the pages.
    pub sessions: SessionManager,
    /// The events that their engine reported.
    pub events: EventRing,
    /// The keys: to replace them, and for the anatomy of a cookie.
    pub keys: KeyFile,
    /// Counts wrong passwords.
    pub wrong_passwords: Lockout,
    /// Counts wrong one-time codes.
    pub wrong_codes: Lockout,
    /// One-time codes.
    pub second_factor: SecondFactor,
    /// The attack lab.
    pub lab: Lab,
    /// The commands that open the demo in a victim's browser and in a thief's; `None` over plain http.
    pub commands: Option<[String; 2]>,
    /// The sessions' clock, if a test moves it.
    pub clock: Option<ManualClock>,
    /// For answers that go on until the server stops.
    pub stopping: Stopping,
}

impl App {
    /// Returns the time by the sessions' clock, in milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.as_ref().map_or_else(when::now, |clock| clock.now().as_millis())
    }
}
