//! Origins, and the reasons why a request counts as caused by another site.

use std::fmt;
use std::str::FromStr;

/// The reason why a request counts as caused by another site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrossOriginReason {
    /// The browser says that another site caused it.
    CrossSite,
    /// The browser says that a sibling, such as another subdomain, caused it.
    SameSite,
    /// Its origin is not the host that it was sent to.
    OtherOrigin,
    /// It has no header that says where it comes from, and must have one.
    NoHeaders,
    /// A header came twice, or is not one that a browser sends.
    Malformed,
}

impl CrossOriginReason {
    /// Returns the reason in snake case, for a log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CrossSite => "cross_site",
            Self::SameSite => "same_site",
            Self::OtherOrigin => "other_origin",
            Self::NoHeaders => "no_headers",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for CrossOriginReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrossSite => "Sec-Fetch-Site says that it comes from another site",
            Self::SameSite => "Sec-Fetch-Site says that it comes from another origin of the same site",
            Self::OtherOrigin => "its Origin is not the host that it was sent to",
            Self::NoHeaders => "it has neither Sec-Fetch-Site nor Origin",
            Self::Malformed => "a header that says where it comes from is malformed or came twice",
        })
    }
}

/// A scheme, a host and a port, as browsers write them: `https://example.org`, `http://localhost:3000`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: String,
    /// The host and the port, without the port that the scheme implies.
    authority: String,
}

/// The error for a text that is not an [`Origin`].
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is a scheme, a host in ASCII and perhaps a port, without a path or a slash at the end: `https://example.org`"
)]
pub struct InvalidOrigin;

secure_sessions_core::debug_as_display!(InvalidOrigin);

/// The longest origin, in bytes. A host name has at most 253.
const MAX_ORIGIN_LEN: usize = 300;

impl Origin {
    /// Returns `true` if a request to this host and port is one to this origin, whatever its scheme.
    pub(crate) fn is_at(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        without_default_port(&self.scheme, &host) == self.authority
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text.len() > MAX_ORIGIN_LEN {
            return Err(InvalidOrigin);
        }
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme || !is_authority(authority) {
            return Err(InvalidOrigin);
        }
        Ok(Self { scheme: scheme.to_owned(), authority: without_default_port(scheme, authority).to_owned() })
    }
}

fn is_authority(text: &str) -> bool {
    // An IPv6 address is in brackets, and contains colons itself.
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let valid =
                !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
            (valid, rest.strip_prefix(':').or(rest.is_empty().then_some("0")))
        }
        None => {
            // `0` takes the place of a port that is absent.
            let (host, port) = text.split_once(':').unwrap_or((text, "0"));
            let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!host.is_empty() && host.bytes().all(is_host_byte), Some(port))
        }
    };
    host && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return authority,
    };
    authority.strip_suffix(default).filter(|host| !host.is_empty()).unwrap_or(authority)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}
