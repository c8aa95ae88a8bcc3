//! The frame that every page has around its content.

use secure_sessions_axum::{Session, SessionError};

use crate::users::{Role, account};
use crate::visitor::COOKIE_LIMIT;
use crate::visitor::{Cart, Preferences, key};

/// The frame that every page has around its content.
pub struct Shell {
    current: &'static str,
    cart_count: u32,
    /// Set to `true` if the session was looked at, so that the page can say who is logged in.
    pub knows_visitor: bool,
    is_admin: bool,
    /// The visitor's name for the greeting, if somebody is logged in.
    pub user: Option<String>,
    /// The visitor's theme.
    pub theme: &'static str,
    /// For the form that logs out; empty if nobody is logged in.
    pub csrf: String,
    /// The most bytes of the session cookie.
    pub limit: usize,
}

/// A link of the navigation.
pub struct Link {
    /// The target.
    pub href: &'static str,
    /// Its text.
    pub label: &'static str,
    /// Set to `true` if this is the page.
    pub is_current: bool,
    /// A number beside it.
    pub count: Option<u32>,
}

/// The bytes that the session's keys take in the cookie.
pub struct KeySizes {
    /// Name and value of the cookie, in bytes.
    pub cookie: usize,
    /// Each key, with the bytes of key and value together.
    pub keys: Vec<(String, usize)>,
}

impl Shell {
    /// For a page of the given address.
    ///
    /// # Errors
    ///
    /// [`SessionError`] if the session holds something else than the demo puts there.
    pub fn of(session: &Session, current: &'static str) -> Result<Self, SessionError> {
        let preferences: Preferences = session.get(key::PREFERENCES)?.unwrap_or_default();
        let cart: Cart = session.get(key::CART)?.unwrap_or_default();
        let subject = session.subject();
        let full_name = |name: &str| account(name).map_or_else(|| name.to_owned(), |found| found.full_name.to_owned());
        let is_admin = subject.as_deref().and_then(account).is_some_and(|account| account.role == Role::Admin);
        let user = subject.map(|name| match preferences.name.as_str() {
            "" => full_name(&name),
            greeting => greeting.to_owned(),
        });
        Ok(Self {
            current,
            cart_count: cart.count(),
            knows_visitor: true,
            is_admin,
            theme: preferences.theme.code(),
            // A token makes an anonymous session. A page that only reads should make none.
            csrf: if user.is_some() { session.csrf_token()? } else { String::new() },
            limit: COOKIE_LIMIT,
            user,
        })
    }

    /// For pages that are shown because the session cannot be read.
    #[must_use]
    pub fn without_session() -> Self {
        Self {
            current: "",
            cart_count: 0,
            knows_visitor: false,
            is_admin: false,
            user: None,
            theme: "auto",
            csrf: String::new(),
            limit: COOKIE_LIMIT,
        }
    }

    /// The navigation.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let count = Some(self.cart_count).filter(|count| *count > 0);
        [
            Some(("/", "Session", None)),
            Some(("/cart", "Cart", count)),
            Some(("/preferences", "Preferences", None)),
            self.user.as_ref().map(|_| ("/sessions", "Your sessions", None)),
            self.is_admin.then_some(("/admin", "Admin", None)),
            Some(("/device", "This device", None)),
            Some(("/lab", "Attack lab", None)),
        ]
        .into_iter()
        .flatten()
        .map(|(href, label, count)| Link { href, label, is_current: href == self.current, count })
        .collect()
    }
}

impl KeySizes {
    /// As the session stands now.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let data = session.data();
        let keys = data.iter().map(|(key, value)| (key.to_owned(), cbor_text_len(key) + value.len()));
        Self { cookie: session.cookie_size(), keys: keys.collect() }
    }
}

/// Bytes of a short text in CBOR: one for its head, up to 23 bytes of text; then two.
fn cbor_text_len(text: &str) -> usize {
    text.len() + if text.len() < 24 { 1 } else { 2 }
}
