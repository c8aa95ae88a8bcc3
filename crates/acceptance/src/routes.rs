//! The routes with a session.

use crate::extra::Work as Extra;
use crate::work::Work;

/// The methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

/// The routes of the acceptance program.
pub const ROUTES: &[(Verb, &str, Work)] = &[
    (Verb::Get, "/state", Work::State),
    (Verb::Post, "/set", Work::Set),
    (Verb::Post, "/remove", Work::Remove),
    (Verb::Post, "/clear", Work::Clear),
    (Verb::Post, "/incr", Work::Incr),
    (Verb::Post, "/login", Work::Login),
    (Verb::Post, "/renew", Work::Renew),
    (Verb::Post, "/logout", Work::Logout),
    (Verb::Post, "/logout-keeping-data", Work::LogoutKeepingData),
    (Verb::Post, "/logout-everywhere", Work::LogoutEverywhere),
    (Verb::Post, "/big", Work::Big),
    (Verb::Post, "/fail", Work::Fail),
    (Verb::Get, "/sessions", Work::Sessions),
    (Verb::Post, "/sessions/revoke", Work::Revoke),
    (Verb::Post, "/sessions/revoke-others", Work::RevokeOthers),
    (Verb::Get, "/csrf", Work::Csrf),
    (Verb::Post, "/protected", Work::Protected),
];

/// Those under `/extra`, mounted only with `EXTRA=1`.
pub const EXTRA_ROUTES: &[(Verb, &str, Work)] = &[
    (Verb::Post, "/extra/steps", Work::Extra(Extra::Steps)),
    (Verb::Get, "/extra/about", Work::Extra(Extra::About)),
    (Verb::Post, "/extra/json", Work::Extra(Extra::Json)),
    (Verb::Post, "/extra/sample", Work::Extra(Extra::SampleIn)),
    (Verb::Get, "/extra/sample", Work::Extra(Extra::SampleOut)),
    (Verb::Post, "/extra/redirect", Work::Extra(Extra::Redirect)),
    (Verb::Post, "/extra/own-cookies", Work::Extra(Extra::OwnCookies)),
    (Verb::Post, "/extra/public", Work::Extra(Extra::Public)),
    (Verb::Get, "/extra/cached", Work::Extra(Extra::Cached)),
    (Verb::Get, "/extra/debug", Work::Extra(Extra::Debug)),
    (Verb::Post, "/extra/proof", Work::Extra(Extra::Proof)),
];
