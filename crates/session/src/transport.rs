//! The transports of a session: a cookie, or a bearer token in headers that scripts and apps set themselves.

use std::sync::Arc;

use arc_swap::ArcSwap;
use secure_sessions_core::{Keyring, Sizes};

use crate::adapter::head::RequestHead;
use crate::config::build_error::BuildError;
use crate::config::is_header_name;
use crate::remember::Sealing;

pub(crate) mod cookie;
pub(crate) mod dpop;
#[cfg_attr(not(feature = "device"), allow(dead_code, reason = "the endpoint reads the rest"))]
pub(crate) mod ticket;

/// The way that a session travels between client and server. It is fixed for the session's whole life: its tokens are
/// sealed for one transport, and the other refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Transport {
    /// The headers `Cookie` and `Set-Cookie`, which the browser handles by itself.
    #[default]
    Cookie,
    /// The header `Authorization: Bearer` (RFC 6750) and a response header, which the client's own code handles.
    Bearer,
}

/// The response header that brings a bearer token, unless configured otherwise.
pub const DEFAULT_BEARER_HEADER: &str = "session-token";

/// The bearer transport as configured.
pub(crate) struct Bearer {
    /// The response header's name, in lower case.
    pub(crate) header: &'static str,
    /// The sealer of a context of its own, so that a bearer token is refused as a cookie, and the other way round.
    pub(crate) sealer: ArcSwap<Sealing>,
}

impl Bearer {
    /// Derives the sealer from the one for cookies, so that both transports share their subjects.
    pub(crate) fn new(header: &'static str, cookies: &Sealing, sizes: Sizes) -> Result<Self, BuildError> {
        check_header(header)?;
        Ok(Self { header, sealer: ArcSwap::from_pointee(cookies.for_context(&format!("bearer:{header}"), sizes)?) })
    }

    pub(crate) fn set_keyring(&self, keyring: Arc<Keyring>) {
        let sealer = self.sealer.load().with_keyring(keyring);
        self.sealer.swap(Arc::new(sealer)).forget_where(|_| true);
    }
}

/// Headers that HTTP, or the engine, uses for something else.
const TAKEN: [&str; 11] = [
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "dpop",
    "dpop-nonce",
    "set-cookie",
    "transfer-encoding",
    "vary",
];

fn check_header(header: &'static str) -> Result<(), BuildError> {
    let refuse = |problem| Err(BuildError::Bearer { header, problem });
    if !is_header_name(header) {
        return refuse("the name of a header for tokens consists of lower-case ASCII letters, digits and hyphens");
    }
    if TAKEN.contains(&header) {
        return refuse("this header has another use; the default is `session-token`");
    }
    Ok(())
}

/// The scheme of an `Authorization` header that brings a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    /// DPoP (RFC 9449): the token is bound to a key, and a proof comes along.
    Dpop,
}

/// Visits the credentials of every `Authorization` header of the scheme `Bearer`, or `DPoP` if that is on, as they are.
/// Returns `true` if there was one.
pub(crate) fn each_token(head: &dyn RequestHead, dpop: bool, visit: &mut dyn FnMut(Scheme, &[u8])) -> bool {
    let mut found = false;
    let mut take = |scheme, credentials: &[u8]| {
        found = true;
        visit(scheme, credentials);
    };
    head.for_each_value("authorization", &mut |value| {
        if let Some(credentials) = credentials(value, b"bearer") {
            take(Scheme::Bearer, credentials);
        } else if let Some(credentials) = credentials(value, b"dpop").filter(|_| dpop) {
            take(Scheme::Dpop, credentials);
        }
    });
    found
}

/// Returns the text after this scheme, or `None` if the scheme is another. Case does not matter (RFC 9110, section
/// 11.1).
fn credentials<'v>(value: &'v [u8], wanted: &[u8]) -> Option<&'v [u8]> {
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at_checked(wanted.len())?;
    if !scheme.eq_ignore_ascii_case(wanted) || rest.first().is_some_and(|byte| *byte != b' ') {
        return None;
    }
    Some(rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bearer_scheme_brings_a_token() {
        for (value, expected) in [
            (&b"Bearer abc"[..], Some(&b"abc"[..])),
            (b"bEARER   abc ", Some(b"abc")),
            (b"Bearer", Some(b"")),
            (b"Bearerabc", None),
            (b"Basic YTpi", None),
            (b"Bear", None),
            (b"", None),
        ] {
            assert_eq!(credentials(value, b"bearer"), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_header_with_another_use_or_a_malformed_name_is_refused() {
        for header in ["", "Session-Token", "a b", "a:", "set-cookie", "authorization", "vary"] {
            assert!(check_header(header).is_err(), "{header}");
        }
        check_header(DEFAULT_BEARER_HEADER).expect("the default");
        check_header("x-auth-2").expect("a plain name");
    }
}
