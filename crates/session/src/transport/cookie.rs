//! The cookie: its attributes, the header that sets it, the header that brings it back (RFC 6265bis).

use std::fmt::Write;

use secure_sessions_core::{Millis, Token};

use crate::config::build_error::BuildError;

/// The longest lifetime that browsers give a cookie: 400 days (RFC 6265bis, section 5.5).
pub const MAX_COOKIE_AGE: Millis = Millis::from_secs(400 * 24 * 60 * 60);

/// The most bytes that browsers read of an attribute's value (RFC 6265bis, section 5.6).
const MAX_ATTRIBUTE_LEN: usize = 1024;

/// The rule by which browsers send the cookie along with requests that other sites cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SameSite {
    /// Never.
    Strict,
    /// Only when the user follows a link.
    #[default]
    Lax,
    /// Always. Needs `Secure`. The cookie then gives no protection against requests that another site forges: see the
    /// guide's chapter on [CSRF](crate::guide::csrf).
    None,
}

/// The cookie's name and attributes, as configured.
#[derive(Debug, Clone)]
pub(crate) struct CookieConfig {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) domain: Option<String>,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
    pub(crate) partitioned: bool,
    pub(crate) persistent: bool,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            name: "__Host-session".to_owned(),
            path: "/".to_owned(),
            domain: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
            persistent: false,
        }
    }
}

impl CookieConfig {
    /// Refuses a cookie that browsers would drop or interpret differently.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let refuse = |problem: &str| Err(BuildError::Cookie { name: self.name.clone(), problem: problem.to_owned() });
        if self.name.is_empty() || !self.name.bytes().all(is_token_byte) {
            return refuse("a cookie's name consists of ASCII letters, digits and !#$%&'*+-.^_`|~");
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(is_attribute_byte) {
            return refuse("Path must start with `/` and hold neither `;` nor control characters");
        }
        if let Some(domain) = &self.domain
            && (domain.is_empty() || !domain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'))
        {
            return refuse("Domain must be a host name in ASCII, such as `example.org`");
        }
        if self.domain.as_ref().is_some_and(|domain| domain.trim_start_matches('.').split('.').any(str::is_empty)) {
            return refuse(
                "Domain must not end with a dot, nor hold two together: browsers would match it with no host",
            );
        }
        if [Some(&self.path), self.domain.as_ref()].into_iter().flatten().any(|value| value.len() > MAX_ATTRIBUTE_LEN) {
            return refuse(
                "browsers ignore a Path or Domain of more than 1024 bytes, and keep the cookie for another scope",
            );
        }
        // Browsers ignore the case of the prefixes.
        let name = self.name.to_ascii_lowercase();
        let host = name.starts_with("__host-");
        if host && self.domain.is_some() {
            return refuse("browsers drop a `__Host-` cookie with a Domain; remove the domain, or use `__Secure-`");
        }
        if host && self.path != "/" {
            return refuse(
                "browsers drop a `__Host-` cookie unless its Path is `/`; remove the path, or use `__Secure-`",
            );
        }
        if (host || name.starts_with("__secure-") || name.starts_with("__http-")) && !self.secure {
            return refuse(
                "browsers drop a cookie with this prefix unless it is Secure; keep `secure(true)`, or use `insecure_dev()` for plain http on localhost",
            );
        }
        if (name.starts_with("__http-") || name.starts_with("__host-http-")) && !self.http_only {
            return refuse("browsers drop a cookie with this prefix unless it is HttpOnly; keep `http_only(true)`");
        }
        if self.same_site == SameSite::None && !self.secure {
            return refuse("browsers drop a SameSite=None cookie unless it is Secure");
        }
        if self.partitioned && !self.secure {
            return refuse("browsers drop a Partitioned cookie unless it is Secure");
        }
        Ok(())
    }

    pub(crate) fn attributes(&self) -> String {
        let mut text = format!("; Path={}", self.path);
        if let Some(domain) = &self.domain {
            text.push_str("; Domain=");
            text.push_str(domain);
        }
        if self.secure {
            text.push_str("; Secure");
        }
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        text.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        if self.partitioned {
            text.push_str("; Partitioned");
        }
        text
    }
}

/// Writes `Set-Cookie` values for one configuration.
#[derive(Debug)]
pub(crate) struct CookieWriter {
    name: String,
    attributes: String,
    removal: String,
}

impl CookieWriter {
    pub(crate) fn new(config: &CookieConfig) -> Self {
        let attributes = config.attributes();
        // Repeats every attribute: browsers drop a removal without those that the prefix demands.
        let removal = format!("{}={attributes}; Max-Age=0", config.name);
        Self { name: config.name.clone(), attributes, removal }
    }

    /// Returns the header's value that sets the cookie, for the browser session or for `max_age`: at most 400 days,
    /// rounded down to seconds.
    pub(crate) fn set(&self, token: &Token, max_age: Option<Millis>) -> String {
        let mut text = String::with_capacity(
            self.name.len() + 1 + token.as_bytes().len() * 4 / 3 + 2 + self.attributes.len() + 24,
        );
        text.push_str(&self.name);
        text.push('=');
        token.encode_into(&mut text);
        text.push_str(&self.attributes);
        if let Some(age) = max_age {
            // Writing to a String cannot fail.
            let _ = write!(text, "; Max-Age={}", age.min(MAX_COOKIE_AGE).get() / 1000);
        }
        text
    }

    /// Returns the token's text from a value that [`set`](Self::set) returned.
    pub(crate) fn value<'c>(&self, cookie: &'c str) -> &'c str {
        let value = cookie.get(self.name.len() + 1..).unwrap_or_default();
        value.split_once(';').map_or(value, |(value, _)| value)
    }

    pub(crate) fn remove(&self) -> &str {
        &self.removal
    }

    /// Returns `true` if browsers send the cookie with requests that other sites cause.
    #[cfg(feature = "device")]
    pub(crate) fn is_cross_site(&self) -> bool {
        self.attributes.contains("; SameSite=None")
    }
}

/// Visits the values of all cookies with this name in one `Cookie` header, as they are: nothing is unquoted or decoded.
pub(crate) fn for_each_value<'h>(header: &'h [u8], name: &str, mut visit: impl FnMut(&'h [u8])) {
    let mut rest = Some(header);
    while let Some(pairs) = rest {
        // A header with a token has hundreds of bytes, and almost always one pair.
        let (pair, after) = match memchr::memchr(b';', pairs) {
            Some(end) => (&pairs[..end], Some(&pairs[end + 1..])),
            None => (pairs, None),
        };
        if let Some(value) =
            pair.trim_ascii_start().strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
        {
            visit(value);
        }
        rest = after;
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_attribute_byte(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && byte != b';'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut CookieConfig)) -> Result<(), BuildError> {
        let mut config = CookieConfig::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn the_default_is_accepted_and_its_removal_repeats_every_attribute() {
        let config = CookieConfig::default();
        config.check().expect("the default");
        assert_eq!(
            CookieWriter::new(&config).remove(),
            "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
        );
    }

    #[test]
    fn what_browsers_would_drop_is_refused_with_what_to_change() {
        type Change = fn(&mut CookieConfig);
        let cases: [(Change, &str); 17] = [
            (|c| c.domain = Some("example.org".into()), "Domain"),
            (|c| c.path = "/app".into(), "Path"),
            (|c| c.secure = false, "Secure"),
            (|c| (c.name, c.secure) = ("__SECURE-x".into(), false), "Secure"),
            (|c| (c.name, c.http_only) = ("__Http-x".into(), false), "HttpOnly"),
            (|c| (c.name, c.secure, c.same_site) = ("x".into(), false, SameSite::None), "SameSite=None"),
            (|c| (c.name, c.secure, c.partitioned) = ("x".into(), false, true), "Partitioned"),
            (|c| c.name = String::new(), "name"),
            (|c| c.name = "a b".into(), "name"),
            (|c| c.name = "a=b".into(), "name"),
            (|c| c.path = "/;x".into(), "Path"),
            (|c| (c.name, c.domain) = ("x".into(), Some("a;b".into())), "Domain"),
            (|c| (c.name, c.domain) = ("x".into(), Some("example.org.".into())), "dot"),
            (|c| (c.name, c.domain) = ("x".into(), Some("example..org".into())), "dot"),
            (|c| (c.name, c.domain) = ("x".into(), Some("a".repeat(1025))), "1024"),
            (|c| (c.name, c.path) = ("x".into(), format!("/{}", "a".repeat(1024))), "1024"),
            (|c| (c.name, c.http_only) = ("__host-HTTP-x".into(), false), "HttpOnly"),
        ];
        for (change, expected) in cases {
            let error = with(change).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_partitioned_cookie_is_accepted_and_its_removal_is_partitioned_too() {
        let config = CookieConfig { same_site: SameSite::None, partitioned: true, ..CookieConfig::default() };
        config.check().expect("Secure, SameSite=None and Partitioned go together");
        assert_eq!(
            CookieWriter::new(&config).remove(),
            "__Host-session=; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=0"
        );
        for (name, domain) in [("__Secure-x", "example.org"), ("x", ".example.org"), ("x", "localhost")] {
            let config = CookieConfig { name: name.into(), domain: Some(domain.into()), ..CookieConfig::default() };
            config.check().expect("what a prefix allows");
        }
    }

    #[test]
    fn a_name_is_matched_whole_and_values_are_left_as_they_are() {
        let header = br#"xsession=no; session=one;session="two"; session =no; sessions=no; session=; Session=no"#;
        let mut values = Vec::new();
        for_each_value(header, "session", |value| values.push(value));
        assert_eq!(values, [&b"one"[..], b"\"two\"", b""]);
    }
}
