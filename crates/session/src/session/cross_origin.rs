//! Decides whether another site caused a request, from `Sec-Fetch-Site` and `Origin`, which browsers set and scripts
//! cannot.
//!
//! The algorithm is that of Go's `http.CrossOriginProtection` (Go 1.25). See the guide's chapter on
//! [CSRF](crate::guide::csrf) for when this is enough, and when you need tokens too.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use crate::adapter::head::RequestHead;
use crate::event::Event;
use crate::event::origin::{CrossOriginReason, Origin};
use crate::event::throttle::{EventLimit, Throttle};
use crate::manager::SessionManager;

mod builder;
mod path;

pub use self::builder::{CrossOriginBuilder, CrossOriginError};
use self::path::PathRule;

/// Refuses requests that another site caused. Cheap to clone; an adapter's layer asks it about every request.
///
/// 1. A `GET`, `HEAD` or `OPTIONS` passes: such a request must not change anything. The handshake of a WebSocket is a
///    `GET` that does not pass, since the messages after it may change anything.
/// 2. A path that is exempt passes.
/// 3. An `Origin` that is trusted passes.
/// 4. `Sec-Fetch-Site: same-origin` and `none` (typed by the user, a bookmark) pass; `same-site` (a sibling subdomain)
///    passes if it is allowed. Every other value is refused.
/// 5. Without `Sec-Fetch-Site` (browsers before 2023, and plain http except on localhost), an `Origin` passes if its
///    host and port are those of the request. `Host` has no scheme, so one from `http://` passes on `https://`: use
///    HSTS.
/// 6. Without both, no browser sent it: it passes, unless you refuse such requests too.
///
/// If `Sec-Fetch-Site` or `Origin` comes twice, or is not ASCII, only rules 1 and 2 let the request pass.
///
/// ```
/// use secure_sessions::CrossOrigin;
///
/// let check = CrossOrigin::builder()
///     .trusted_origin("https://accounts.example.org")
///     .exempt_path("/webhooks/*")
///     .build()?;
/// # Ok::<_, secure_sessions::CrossOriginError>(())
/// ```
#[derive(Clone)]
pub struct CrossOrigin(Arc<Inner>);

struct Inner {
    trusted: Vec<Origin>,
    exempt: Vec<PathRule>,
    same_site: bool,
    require_headers: bool,
    report_only: bool,
    events: Events,
}

enum Events {
    /// Goes to a manager's observers, and to the log.
    Manager(SessionManager),
    /// Goes to the log alone.
    Log(Throttle, Instant),
}

/// The parts of a request that say where it comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Provenance<'r> {
    /// The method, in upper case.
    pub method: &'r str,
    /// The path as the request has it.
    pub path: &'r str,
    /// The authority of the request's target, or else the header `Host`.
    pub host: Option<&'r str>,
    /// The value of the header `Sec-Fetch-Site`.
    pub sec_fetch_site: Option<&'r str>,
    /// The value of the header `Origin`.
    pub origin: Option<&'r str>,
    /// `true` if the request asks for a WebSocket.
    pub is_websocket: bool,
}

/// A request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("refused: {reason}")]
#[non_exhaustive]
pub struct CrossOriginRefused {
    /// The reason why it was refused.
    pub reason: CrossOriginReason,
}

impl CrossOriginRefused {
    /// Returns the HTTP status of a response to it.
    #[must_use]
    pub fn status(&self) -> u16 {
        403
    }

    /// Returns the only text that a client sees of it.
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        "The request came from another site."
    }
}

impl Default for CrossOrigin {
    /// Creates a check that trusts no origin and exempts no path.
    fn default() -> Self {
        Self(Arc::new(Inner {
            trusted: Vec::new(),
            exempt: Vec::new(),
            same_site: false,
            require_headers: false,
            report_only: false,
            events: Events::Log(Throttle::new(EventLimit::default()), Instant::now()),
        }))
    }
}

impl CrossOrigin {
    /// Decides from the parts of the request alone. Raises no event, and ignores the report-only mode.
    ///
    /// # Errors
    ///
    /// Returns the reason why the request counts as caused by another site.
    pub fn decide(&self, request: &Provenance<'_>) -> Result<(), CrossOriginReason> {
        let Inner { trusted, exempt, same_site, require_headers, .. } = &*self.0;
        let is_safe = matches!(request.method, "GET" | "HEAD" | "OPTIONS") && !request.is_websocket;
        if is_safe || exempt.iter().any(|rule| rule.matches(request.path)) {
            return Ok(());
        }
        let origin = request.origin.map(Origin::from_str);
        if let Some(Ok(origin)) = &origin
            && trusted.contains(origin)
        {
            return Ok(());
        }
        match (request.sec_fetch_site, origin) {
            (Some("same-origin" | "none"), _) => Ok(()),
            (Some("same-site"), _) if *same_site => Ok(()),
            (Some("same-site"), _) => Err(CrossOriginReason::SameSite),
            (Some(_), _) => Err(CrossOriginReason::CrossSite),
            (None, Some(Ok(origin))) if request.host.is_some_and(|host| origin.is_at(host)) => Ok(()),
            // Among these are `null` and malformed origins.
            (None, Some(_)) => Err(CrossOriginReason::OtherOrigin),
            (None, None) if *require_headers => Err(CrossOriginReason::NoHeaders),
            (None, None) => Ok(()),
        }
    }

    /// Decides, and raises an [`Event::CrossOrigin`] if another site caused the request. `authority` is that of the
    /// request's target (`:authority` in HTTP/2), if it has one; otherwise the header `Host` counts.
    ///
    /// # Errors
    ///
    /// Fails if the request must be refused; never in report-only mode.
    pub fn check(&self, head: &dyn RequestHead, path: &str, authority: Option<&str>) -> Result<(), CrossOriginRefused> {
        let (site, origin) = (Single::of(head, "sec-fetch-site"), Single::of(head, "origin"));
        let host = Single::of(head, "host");
        let mut is_websocket = false;
        head.for_each_value("upgrade", &mut |value| {
            is_websocket |=
                value.split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"));
        });
        let request = Provenance {
            method: head.method(),
            path,
            host: authority.or(host.text()),
            sec_fetch_site: site.text(),
            origin: origin.text(),
            is_websocket,
        };
        let malformed = [&site, &origin].into_iter().any(Single::is_malformed);
        let decision = match self.decide(&request) {
            // A safe or exempt request passes despite a malformed header, and `silent` passes for these two reasons
            // only.
            Ok(()) if malformed => {
                let silent = Provenance { sec_fetch_site: Some("cross-site"), origin: None, ..request };
                self.decide(&silent).map_err(|_| CrossOriginReason::Malformed)
            }
            Err(_) if malformed => Err(CrossOriginReason::Malformed),
            decision => decision,
        };
        let Err(reason) = decision else { return Ok(()) };
        let refused = !self.0.report_only;
        let origin = request.origin.and_then(|origin| origin.parse().ok());
        self.emit(&Event::CrossOrigin { reason, origin, refused });
        if refused { Err(CrossOriginRefused { reason }) } else { Ok(()) }
    }

    fn emit(&self, event: &Event) {
        match &self.0.events {
            Events::Manager(manager) => manager.emit(event),
            Events::Log(throttle, start) => {
                let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                throttle.pass(event, now, Event::trace);
            }
        }
    }
}

impl fmt::Debug for CrossOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { trusted, same_site, require_headers, report_only, .. } = &*self.0;
        f.debug_struct("CrossOrigin")
            .field("trusted", trusted)
            .field("same_site", same_site)
            .field("require_headers", require_headers)
            .field("report_only", report_only)
            .finish_non_exhaustive()
    }
}

/// A header that may have one value at most.
enum Single {
    Absent,
    Text(String),
    Malformed,
}

impl Single {
    fn of(head: &dyn RequestHead, name: &'static str) -> Self {
        let mut single = Self::Absent;
        head.for_each_value(name, &mut |value| {
            single = match (&single, std::str::from_utf8(value)) {
                (Self::Absent, Ok(text)) if text.is_ascii() => Self::Text(text.trim().to_owned()),
                _ => Self::Malformed,
            };
        });
        single
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed)
    }
}

#[cfg(test)]
mod tests;
