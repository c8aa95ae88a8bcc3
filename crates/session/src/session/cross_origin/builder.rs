//! The configuration of the check.

use std::sync::Arc;
use std::time::Instant;

use super::path::PathRule;
use super::{CrossOrigin, Events, Inner};
use crate::event::origin::{InvalidOrigin, Origin};
use crate::event::throttle::{EventLimit, Throttle};
use crate::manager::SessionManager;

/// A configuration of [`CrossOrigin`] that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrossOriginError {
    /// A trusted origin is none. `null` is nobody's: every sandboxed page has it.
    #[error("the trusted origin `{text}`: {source}")]
    Origin {
        /// As it was given.
        text: String,
        /// What one looks like.
        source: InvalidOrigin,
    },
    /// An exempt path is none.
    #[error(
        "the exempt path `{0}`: it is `/one/path`, or `/one/*` for all below; without a query, dot segments or `//`"
    )]
    Path(String),
}

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
    /// Starts with nothing trusted and nothing exempt.
    pub fn builder() -> CrossOriginBuilder {
        CrossOriginBuilder::default()
    }
}

impl CrossOriginBuilder {
    /// Lets requests of this origin pass, such as `https://accounts.example.org` for its `response_mode=form_post`.
    ///
    /// # Security
    ///
    /// Its pages, and whoever injects a script into one, can then act as every user.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted.push(origin.into());
        self
    }

    /// Lets all requests to a path pass: `/hook`, or `/hooks/*` for all below. For routes that do not look at the session.
    /// The path is the one that the layer sees: within a nested router, that may be without the prefix.
    pub fn exempt_path(mut self, path: impl Into<String>) -> Self {
        self.exempt.push(path.into());
        self
    }

    /// Lets requests from other origins of the same site pass, such as other subdomains.
    ///
    /// # Security
    ///
    /// One subdomain that is taken over, or that serves what users upload, can then act as every user.
    pub fn allow_same_site(mut self, allow: bool) -> Self {
        self.same_site = allow;
        self
    }

    /// Refuses what has neither `Sec-Fetch-Site` nor `Origin` too: for a site that only browsers talk to.
    pub fn require_headers(mut self, require: bool) -> Self {
        self.require_headers = require;
        self
    }

    /// Only reports what it would refuse: to try the check out on a running site.
    ///
    /// # Security
    ///
    /// Nothing is refused.
    pub fn report_only(mut self, report_only: bool) -> Self {
        self.report_only = report_only;
        self
    }

    /// Sends the events to the observers of this manager, too. Without it they go to the log alone.
    pub fn events_to(mut self, manager: &SessionManager) -> Self {
        self.manager = Some(manager.clone());
        self
    }

    /// Checks everything.
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
