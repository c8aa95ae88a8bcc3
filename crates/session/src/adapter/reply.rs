//! The headers that the engine adds to a response.

use std::fmt;
use std::sync::Arc;

use crate::error::SessionError;

/// A response's headers, as an adapter's framework represents them. Names are in lower case.
pub trait ResponseHeaders {
    /// Calls `visit` with the raw bytes of each value of the header `name`, in order.
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8]));

    /// Adds a header and keeps those of the same name. A `sensitive` value stays out of HPACK's tables.
    fn append(&mut self, name: &'static str, value: &str, sensitive: bool);

    /// Replaces all headers of this name with this constant value.
    fn set(&mut self, name: &'static str, value: &'static str);

    /// Removes all headers of this name.
    fn remove(&mut self, name: &'static str);

    /// Sets a header unless one of this name is present. Returns `true` if it was set.
    ///
    /// Override it if your framework can look up and insert in one step: every response that read a session calls it
    /// twice.
    fn set_if_absent(&mut self, name: &'static str, value: &'static str) -> bool {
        let is_absent = !is_present(self, name);
        if is_absent {
            self.set(name, value);
        }
        is_absent
    }
}

/// The headers that a response needs: a `Set-Cookie`, and those that keep it out of caches; or the error that replaces
/// it.
///
/// An adapter first looks at [`failure`](Self::failure) to decide which response leaves. Then it calls
/// [`apply`](Self::apply) with that response's headers.
#[derive(Default)]
#[must_use]
pub struct Reply {
    pub(crate) set_cookie: Option<String>,
    /// The bearer tokens' header and its value, which is empty if the client must forget its token. Never set together
    /// with `set_cookie`.
    pub(crate) bearer: Option<(&'static str, String)>,
    pub(crate) vary: Vary,
    pub(crate) read: bool,
    /// Boxed, because most requests move a reply without one.
    pub(crate) failure: Option<Box<SessionError>>,
    /// `true` if the response's status is 304.
    pub(crate) not_modified: bool,
    /// Boxed, because few responses have any.
    pub(crate) rare: Option<Box<RareHeaders>>,
}

/// The headers that only the responses to a login or a logout have, and those about a device's ticket or DPoP.
#[derive(Default)]
pub(crate) struct RareHeaders {
    /// The value of `Clear-Site-Data`.
    pub(crate) clear_site_data: Option<Arc<str>>,
    /// The value of `Secure-Session-Registration`, which asks the browser to register a key.
    pub(crate) registration: Option<String>,
    /// The `Set-Cookie` that removes the ticket.
    pub(crate) removal: Option<String>,
    /// The value of `DPoP-Nonce`.
    pub(crate) nonce: Option<String>,
    /// The value of `WWW-Authenticate`, for a 401 alone. The nonce then goes with it.
    pub(crate) challenge: Option<String>,
}

/// The request headers that a session may come in: a response that read a session depends on them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Vary {
    #[default]
    Cookie,
    Authorization,
    Both,
}

impl Vary {
    fn headers(self) -> &'static [&'static str] {
        match self {
            Self::Cookie => &["Cookie"],
            Self::Authorization => &["Authorization"],
            Self::Both => &["Cookie", "Authorization"],
        }
    }
}

impl Reply {
    /// Creates the reply for a response that read a session and sends nothing.
    pub(crate) fn new(takes_cookies: bool, takes_bearer: bool) -> Self {
        let vary = match (takes_cookies, takes_bearer) {
            (_, false) => Vary::Cookie,
            (true, true) => Vary::Both,
            (false, true) => Vary::Authorization,
        };
        Self { vary, read: true, ..Self::default() }
    }

    /// Records the response's status.
    pub(crate) fn to(self, status: u16) -> Self {
        let mut rare = self.rare;
        if let Some(rare) = rare.as_mut().filter(|rare| rare.challenge.is_some() && status != 401) {
            (rare.challenge, rare.nonce) = (None, None);
        }
        Self { not_modified: status == 304, rare, ..self }
    }

    /// Returns the error that replaces the response, or `None`. If there is one, the request's changes were not kept.
    #[must_use]
    pub fn failure(&self) -> Option<&SessionError> {
        self.failure.as_deref()
    }

    /// Adds the headers to the response's.
    ///
    /// 1. Appends our `Set-Cookie` beside the application's own. If the session travels as a bearer token, sets the
    ///    header with the new token instead; an empty value tells the client to forget the one it has.
    /// 2. Sets `Cache-Control: no-store` on a response with either, unless the application set `no-store` or `private`
    ///    itself, and removes `CDN-Cache-Control` and `Surrogate-Control`.
    /// 3. Sets `Cache-Control: no-store` on a response that only read a session, unless the application set the header,
    ///    or the status is 304. The headers of a 304 replace those of the response that the client has stored, which
    ///    already says how long it may be kept.
    /// 4. Adds to `Vary` the request headers that a session may come in: `Cookie`, `Authorization`, or both.
    /// 5. Offers to bind the session of a login to a device, and removes a ticket that is worth nothing any more, if
    ///    sessions are bound to devices.
    /// 6. Sets `DPoP-Nonce` where a client needs the next one, and adds `WWW-Authenticate: DPoP` to a 401, if
    ///    [`Builder::dpop`](crate::Builder::dpop) is on.
    /// 7. Adds the configured `Clear-Site-Data` on a logout, unless the application set one itself.
    pub fn apply(&self, headers: &mut dyn ResponseHeaders) {
        if let Some(cookie) = &self.set_cookie {
            headers.append("set-cookie", cookie, true);
        }
        if let Some((name, token)) = &self.bearer {
            // Removes a value of the application's own: the client must get one token.
            headers.remove(name);
            headers.append(name, token, true);
        }
        let mut sends = self.set_cookie.is_some() || self.bearer.is_some();
        if let Some(rare) = &self.rare {
            if let Some(cookie) = &rare.removal {
                headers.append("set-cookie", cookie, true);
            }
            if let Some(offer) = &rare.registration {
                headers.append("secure-session-registration", offer, true);
            }
            if let Some(nonce) = &rare.nonce {
                headers.remove("dpop-nonce");
                headers.append("dpop-nonce", nonce, false);
            }
            if let Some(challenge) = &rare.challenge {
                headers.append("www-authenticate", challenge, false);
            }
            sends |= rare.removal.is_some() || rare.registration.is_some() || rare.nonce.is_some();
        }
        if sends {
            if !mentions(headers, "cache-control", &["no-store", "private"]) {
                headers.set("cache-control", "no-store");
            }
            headers.remove("cdn-cache-control");
            headers.remove("surrogate-control");
        } else if (self.read && !self.not_modified) || self.failure.is_some() {
            headers.set_if_absent("cache-control", "no-store");
        }
        if self.read || sends {
            for name in self.vary.headers() {
                if !headers.set_if_absent("vary", name) && !mentions(headers, "vary", &[name, "*"]) {
                    headers.append("vary", name, false);
                }
            }
        }
        if let Some(list) = self.rare.as_ref().and_then(|rare| rare.clear_site_data.as_deref())
            && !is_present(headers, "clear-site-data")
        {
            headers.append("clear-site-data", list, false);
        }
    }
}

fn is_present(headers: &(impl ResponseHeaders + ?Sized), name: &'static str) -> bool {
    let mut present = false;
    headers.for_each_value(name, &mut |_| present = true);
    present
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Flags alone: the cookie or the bearer token would let a reader of the log into the session.
        f.debug_struct("Reply")
            .field("sets_cookie", &self.set_cookie.is_some())
            .field("sets_bearer", &self.bearer.is_some())
            .field("read", &self.read)
            .field("failure", &self.failure)
            .finish()
    }
}

/// Returns `true` if a header that lists directives contains one of these.
fn mentions(headers: &dyn ResponseHeaders, name: &'static str, directives: &[&str]) -> bool {
    let mut found = false;
    headers.for_each_value(name, &mut |value| {
        found |= value.split(|byte| *byte == b',').any(|part| {
            // `private="field"` covers that field alone, so it does not count as `private`.
            directives.iter().any(|wanted| part.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
        });
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Headers(Vec<(&'static str, String)>);

    impl ResponseHeaders for Headers {
        fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
            self.0.iter().filter(|(other, _)| *other == name).for_each(|(_, value)| visit(value.as_bytes()));
        }

        fn append(&mut self, name: &'static str, value: &str, _: bool) {
            self.0.push((name, value.to_owned()));
        }

        fn set(&mut self, name: &'static str, value: &'static str) {
            self.remove(name);
            self.0.push((name, value.to_owned()));
        }

        fn remove(&mut self, name: &'static str) {
            self.0.retain(|(other, _)| *other != name);
        }
    }

    fn applied(reply: &Reply, before: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let mut headers = Headers(before.iter().map(|(name, value)| (*name, (*value).to_owned())).collect());
        reply.apply(&mut headers);
        headers.0
    }

    fn pairs(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        expected.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn a_response_with_our_cookie_never_enters_a_shared_cache() {
        let reply = Reply { set_cookie: Some("a=b".into()), read: true, ..Reply::default() };
        let ours = [("set-cookie", "x=y"), ("set-cookie", "a=b")];
        let before = [ours[0], ("cache-control", "public, max-age=60"), ("cdn-cache-control", "max-age=60")];
        let after = [ours[0], ours[1], ("cache-control", "no-store"), ("vary", "Cookie")];
        assert_eq!(applied(&reply, &before), pairs(&after));

        let private = ("cache-control", "max-age=60, Private");
        assert_eq!(applied(&reply, &[private]), pairs(&[private, ours[1], ("vary", "Cookie")]));

        let qualified = ("cache-control", "private=\"x\", max-age=60");
        assert_eq!(applied(&reply, &[qualified]), pairs(&[ours[1], after[2], after[3]]));
    }

    #[test]
    fn reading_the_session_leaves_the_application_s_own_cache_headers_alone() {
        let reply = Reply { read: true, ..Reply::default() };
        assert_eq!(applied(&reply, &[]), pairs(&[("cache-control", "no-store"), ("vary", "Cookie")]));
        let own = [("cache-control", "public"), ("vary", "Accept, cookie")];
        assert_eq!(applied(&reply, &own), pairs(&own));
    }

    #[test]
    fn a_304_that_only_read_the_session_says_nothing_of_caching() {
        let read = || Reply { read: true, ..Reply::default() };
        assert_eq!(applied(&read().to(304), &[]), pairs(&[("vary", "Cookie")]));
        let own = [("cache-control", "private"), ("vary", "cookie")];
        assert_eq!(applied(&read().to(304), &own), pairs(&own));
        // A cache would store the cookie with the response that it has.
        let sends = Reply { set_cookie: Some("a=b".into()), ..read() }.to(304);
        let expected = [("set-cookie", "a=b"), ("cache-control", "no-store"), ("vary", "Cookie")];
        assert_eq!(applied(&sends, &[]), pairs(&expected));
    }

    #[test]
    fn a_bearer_reply_is_not_cached_and_varies_by_every_transport_in_use() {
        let bearer = Some(("session-token", "t".to_owned()));
        let reply = Reply { bearer, vary: Vary::Both, read: true, ..Reply::default() };
        let before = [("cache-control", "public"), ("vary", "accept"), ("session-token", "stale")];
        let after = [
            before[1],
            ("session-token", "t"),
            ("cache-control", "no-store"),
            ("vary", "Cookie"),
            ("vary", "Authorization"),
        ];
        assert_eq!(applied(&reply, &before), pairs(&after));
        let reply = Reply { vary: Vary::Authorization, read: true, ..Reply::default() };
        assert_eq!(applied(&reply, &[]), pairs(&[("cache-control", "no-store"), ("vary", "Authorization")]));
    }

    #[test]
    fn a_logout_clears_site_data_unless_the_application_set_that_header() {
        let rare = RareHeaders { clear_site_data: Some("\"cache\"".into()), ..RareHeaders::default() };
        let reply = Reply { rare: Some(rare.into()), ..Reply::default() };
        assert_eq!(applied(&reply, &[]), pairs(&[("clear-site-data", "\"cache\"")]));
        let own = [("clear-site-data", "\"*\"")];
        assert_eq!(applied(&reply, &own), pairs(&own));
    }

    #[test]
    fn a_response_that_never_looked_at_the_session_is_left_alone() {
        assert_eq!(applied(&Reply::default(), &[]), []);
    }
}
