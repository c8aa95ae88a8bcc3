//! The configuration of the check.

use std::sync::Arc;
use std::time::Instant;

use super::path::PathRule;
use super::{CrossOrigin, Events, Inner};
use crate::event::origin::{InvalidOrigin, Origin};
use crate::event::throttle::{EventLimit, Throttle};
use crate::manager::SessionManager;

/// A configuration of [`CrossOrigin`] that cannot work.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrossOriginError {
    /// A trusted origin is invalid. `null` is refused too, since every sandboxed page has it.
    #[error("the trusted origin `{text}`: {source}")]
    Origin {
        /// The text that was given.
        text: String,
        /// The error, which says what an origin looks like.
        source: InvalidOrigin,
    },
    /// An exempt path is invalid.
    #[error(
        "the exempt path `{0}`: it is `/one/path`, or `/one/*` for all below; without a query, dot segments or `//`"
    )]
    Path(String),
}

secure_sessions_core::debug_as_display!(CrossOriginError);

/// Builds a [`CrossOrigin`].
#[must_use]
#[derive(Default)]
pub struct CrossOriginBuilder {
    trusted: Vec<String>,
    exempt: Vec<String>,
    same_site: bool,
    require_headers: bool,
    report_only: bool,
    manager: Option<SessionManager>,
}

impl CrossOrigin {
    /// Creates a builder that trusts no origin and exempts no path.
    pub fn builder() -> CrossOriginBuilder {
        CrossOriginBuilder::default()
    }
}

impl CrossOriginBuilder {
    /// Lets requests from this origin pass, such as `https://accounts.example.org` for its `response_mode=form_post`.
    ///
    /// # Security
    ///
    /// The origin's pages can then act as every user, and so can an attacker who injects a script into one of them.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted.push(origin.into());
        self
    }

    /// Lets all requests to a path pass: `/hook`, or `/hooks/*` for all below. Use it for routes that do not look at
    /// the session.
    ///
    /// The path is the one that the layer sees: within a nested router, that may be without the prefix.
    pub fn exempt_path(mut self, path: impl Into<String>) -> Self {
        self.exempt.push(path.into());
        self
    }

    /// Lets requests from other origins of the same site pass, such as other subdomains.
    ///
    /// # Security
    ///
    /// An attacker who takes over one subdomain, or uploads a page to one that serves users' files, can then act as
    /// every user.
    pub fn allow_same_site(mut self, allow: bool) -> Self {
        self.same_site = allow;
        self
    }

    /// Also refuses requests with neither `Sec-Fetch-Site` nor `Origin`. Use it for a site that only browsers talk to.
    pub fn require_headers(mut self, require: bool) -> Self {
        self.require_headers = require;
        self
    }

    /// Only reports the requests that it would refuse, so that you can try the check out on a running site.
    ///
    /// # Security
    ///
    /// Refuses nothing, so it gives no protection.
    pub fn report_only(mut self, report_only: bool) -> Self {
        self.report_only = report_only;
        self
    }

    /// Also sends the events to the observers of this manager. Without it, they go to the log alone.
    pub fn events_to(mut self, manager: &SessionManager) -> Self {
        self.manager = Some(manager.clone());
        self
    }

    /// Checks all settings and creates the check.
    ///
    /// # Errors
    ///
    /// [`CrossOriginError`] says which origin or path is wrong.
    pub fn build(self) -> Result<CrossOrigin, CrossOriginError> {
        let parse_origin =
            |text: String| text.parse::<Origin>().map_err(|source| CrossOriginError::Origin { text, source });
        let parse_path = |text: String| PathRule::parse(&text).ok_or(CrossOriginError::Path(text));
        let events = match self.manager {
            Some(manager) => Events::Manager(manager),
            None => Events::Log(Throttle::new(EventLimit::default()), Instant::now()),
        };
        Ok(CrossOrigin(Arc::new(Inner {
            trusted: self.trusted.into_iter().map(parse_origin).collect::<Result<_, _>>()?,
            exempt: self.exempt.into_iter().map(parse_path).collect::<Result<_, _>>()?,
            same_site: self.same_site,
            require_headers: self.require_headers,
            report_only: self.report_only,
            events,
        })))
    }
}
