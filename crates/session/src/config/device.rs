//! Device-bound sessions, as an application configures them.

use std::time::Duration;

use secure_sessions_core::Millis;

use crate::config::build_error::BuildError;

/// Binds sessions to a key that the browser keeps in its device's hardware (Device Bound Session Credentials): a stolen
/// cookie is then worth at most [`ticket_life`](Self::ticket_life) and a grace. Pass it to
/// [`Builder::device_bound`](crate::Builder::device_bound). The guide's page
/// [`devices`](crate::guide::using::devices) says what it protects, and how to roll it out.
///
/// ```
/// use std::time::Duration;
/// use secure_sessions::DeviceBound;
///
/// let binding = DeviceBound::new().ticket_life(Duration::from_secs(5 * 60)).exclude("/static");
/// ```
///
/// 1. The response to a login offers the binding. A browser that supports it registers a key, and its next request
///    binds the session. In other browsers sessions stay unbound, and work as before.
/// 2. A request of a bound session counts only with a *ticket*: a cookie of a few minutes, which the browser renews by
///    a signature on its own. Without one the request is anonymous, and the session is left alone.
/// 3. Nothing is kept in the store, and 18 bytes in the cookie.
/// 4. Keys are of P-256 (`ES256`), never of RSA. A device that can keep none registers none.
///
/// # Security
///
/// An attacker who sees the response to the login can register a key of theirs before the browser does. An attacker who
/// holds a token and a ticket has the session until the ticket ends. Malware that can use the key has it for as long as
/// it runs.
#[derive(Debug, Clone)]
#[must_use]
pub struct DeviceBound {
    ticket_life: Duration,
    path: String,
    exclude: Vec<String>,
    required: Option<Duration>,
    offers: bool,
}

/// The path of the registration, unless configured otherwise.
const DEFAULT_PATH: &str = "/.session/device";

/// The shortest life of a ticket. A browser makes at most 6 signatures for a site in 9 minutes.
const MIN_TICKET_LIFE: Duration = Duration::from_secs(5 * 60);
const MAX_TICKET_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for DeviceBound {
    fn default() -> Self {
        Self {
            ticket_life: Duration::from_secs(10 * 60),
            path: DEFAULT_PATH.to_owned(),
            exclude: Vec::new(),
            required: None,
            offers: true,
        }
    }
}

impl DeviceBound {
    /// Creates the default settings: tickets of 10 minutes, at `/.session/device`, offered at every login.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long a ticket is good, 5 minutes at least. The browser renews it when it is used within its last two
    /// minutes, or after its end.
    pub fn ticket_life(mut self, life: Duration) -> Self {
        self.ticket_life = life;
        self
    }

    /// Sets the path of the registration, as browsers see it. The paths of refreshes are below it: `PATH/refresh/..`.
    ///
    /// Two managers that bind sessions of one host need a path each. With the same path, one of them answers for both, and
    /// binds the other's logins under its own cookie.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Leaves the paths that begin with this one out of the binding: the browser sends their requests without waiting
    /// for a ticket. Use it for static files, which need no session.
    pub fn exclude(mut self, path: impl Into<String>) -> Self {
        self.exclude.push(path.into());
        self
    }

    /// Refuses a session that is logged in and not bound this long after its login. Browsers without support for the
    /// binding are locked out then, and so is an attacker who strips the offer.
    pub fn required(mut self, after: Duration) -> Self {
        self.required = Some(after);
        self
    }

    /// Binds no further session: requests of bound ones are checked, and browsers with a key are answered, but no login
    /// offers the binding.
    ///
    /// Roll the binding out in two steps: first with this on every host, so that all of them understand a bound
    /// session; then without it.
    pub fn answer_only(mut self) -> Self {
        self.offers = false;
        self
    }

    /// Checks the settings.
    pub(crate) fn check(self) -> Result<DeviceSettings, BuildError> {
        if !(MIN_TICKET_LIFE..=MAX_TICKET_LIFE).contains(&self.ticket_life) {
            return Err(BuildError::Time {
                setting: "ticket_life",
                value: self.ticket_life,
                problem: "it must be 5 minutes to 24 hours: browsers limit the signatures for a site; the default is 10 minutes",
            });
        }
        if !is_endpoint(&self.path) {
            return Err(BuildError::Device {
                problem: "its path must be segments like `/.session/device`, of letters, digits and `-._~!$&()*+=:@`, without `/` at the end: browsers would send another one",
            });
        }
        if !self.exclude.iter().all(|path| is_path(path)) {
            return Err(BuildError::Device {
                problem: "excluded paths must begin with `/` and consist of visible ASCII without quotes, `\\`, `?`, `#`, `;`, `,`, `<` or `>`",
            });
        }
        Ok(DeviceSettings {
            ticket_life: Millis::from(self.ticket_life),
            refresh_path: format!("{}/refresh/", self.path),
            path: self.path,
            exclude: self.exclude,
            required: self.required.map(Millis::from),
            offers: self.offers,
        })
    }
}

/// Returns `true` for a path that browsers send as it is, and that every framework takes for a route.
fn is_endpoint(path: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&()*+=:@".contains(&byte);
    let is_segment = |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(is_allowed);
    path.strip_prefix('/').is_some_and(|segments| segments.split('/').all(is_segment))
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\?#;,<>".contains(&byte))
}

/// The checked settings of device-bound sessions.
#[derive(Debug)]
pub(crate) struct DeviceSettings {
    pub(crate) ticket_life: Millis,
    pub(crate) path: String,
    /// The path of the refresh, up to the identifier.
    pub(crate) refresh_path: String,
    #[cfg_attr(not(feature = "device"), allow(dead_code, reason = "the endpoint reads it"))]
    pub(crate) exclude: Vec<String>,
    /// The time after its login from which on a session must be bound.
    pub(crate) required: Option<Millis>,
    /// `true` if logins offer the binding.
    pub(crate) offers: bool,
}
