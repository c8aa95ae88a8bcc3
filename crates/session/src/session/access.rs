//! Access: the user that a session belongs to, permissions, and the way to the login page and back.

use std::error::Error;
use std::future::Future;
use std::str::FromStr;

use crate::adapter::head::RequestHead;
use crate::error::SessionError;
use crate::session::Session;

/// A user of the application, as your handlers want to see them. The adapters' `LoggedIn<U>` loads one for each
/// request.
///
/// ```
/// use std::collections::HashMap;
/// use std::convert::Infallible;
/// use secure_sessions::User;
///
/// struct Account {
///     name: String,
///     is_admin: bool,
/// }
///
/// /// Your database, in real life.
/// type Accounts = HashMap<String, bool>;
///
/// impl User for Account {
///     type State = Accounts;
///     type Error = Infallible;
///
///     async fn load(subject: &str, accounts: &Accounts) -> Result<Option<Self>, Infallible> {
///         Ok(accounts.get(subject).map(|is_admin| Self { name: subject.to_owned(), is_admin: *is_admin }))
///     }
/// }
/// ```
pub trait User: Sized + Send + 'static {
    /// The part of the application's state that users are loaded from, such as a database pool.
    type State: Send + Sync + 'static;
    /// The error of loading.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Loads the user with this subject: the text that was passed to [`Session::login`]. Returns `None` if there is no
    /// such user any more; their session is then logged out.
    ///
    /// # Errors
    ///
    /// Your own error, if the user cannot be loaded. The request is then answered with 500, and the log has the error.
    fn load(subject: &str, state: &Self::State) -> impl Future<Output = Result<Option<Self>, Self::Error>> + Send;
}

/// A permission, or a role, that some users have. The adapters' `Allowed<P, U>` lets only those pass.
///
/// ```
/// use secure_sessions::Permission;
///
/// struct Account {
///     is_admin: bool,
/// }
///
/// struct Admin;
///
/// impl Permission<Account> for Admin {
///     fn allows(account: &Account) -> bool {
///         account.is_admin
///     }
/// }
/// ```
pub trait Permission<U> {
    /// Returns `true` if the user has the permission.
    fn allows(user: &U) -> bool;
}

impl Session {
    /// Returns the subject as a `T`, such as the number that your database knows a user by; `None` if nobody is logged
    /// in.
    ///
    /// ```
    /// use secure_sessions::{Session, SessionError};
    ///
    /// fn user_id(session: &Session) -> Result<Option<u64>, SessionError> {
    ///     session.subject_as()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Subject`] if the subject is not a `T`: a release before this one logged its users in under
    /// something else.
    pub fn subject_as<T: FromStr>(&self) -> Result<Option<T>, SessionError> {
        self.subject().map(|subject| parse_subject(&subject)).transpose()
    }

    /// Loads the user that this session belongs to; `None` if nobody is logged in. If the user is gone, the session is
    /// logged out.
    ///
    /// # Errors
    ///
    /// [`SessionError::User`] if [`User::load`] fails, [`SessionError::Finished`] if the user is gone and the
    /// response's headers are already sent.
    pub async fn user<U: User>(&self, state: &U::State) -> Result<Option<U>, SessionError> {
        let Some(subject) = self.subject() else { return Ok(None) };
        let user = U::load(&subject, state).await.map_err(|error| SessionError::User(error.into()))?;
        if user.is_none() {
            self.logout()?;
        }
        Ok(user)
    }

    /// Returns the refusal of a request that needs a login: [`SessionError::LogInAt`] for a page that a browser
    /// navigates to, if the application has a [login page](crate::Builder::login_url), otherwise
    /// [`SessionError::NotLoggedIn`].
    ///
    /// For adapters: `target` is the path and query of the request.
    #[must_use]
    pub fn not_logged_in(&self, head: &dyn RequestHead, target: &str) -> SessionError {
        let Some(login) = self.request().manager.login_url() else { return SessionError::NotLoggedIn };
        let mut accepts_pages = false;
        head.for_each_value("accept", &mut |value| {
            accepts_pages |= std::str::from_utf8(value).is_ok_and(|value| value.contains("text/html"));
        });
        if !accepts_pages || !matches!(head.method(), "GET" | "HEAD") {
            return SessionError::NotLoggedIn;
        }
        SessionError::LogInAt { location: login_location(login, target) }
    }
}

/// Parses a subject.
///
/// # Errors
///
/// [`SessionError::Subject`] if it is not a `T`.
pub fn parse_subject<T: FromStr>(subject: &str) -> Result<T, SessionError> {
    subject.parse().map_err(|_| SessionError::Subject { wanted: std::any::type_name::<T>() })
}

/// Refuses a user without the permission `P`.
///
/// # Errors
///
/// [`SessionError::NotAllowed`], status 403.
pub fn check_permission<P: Permission<U>, U>(user: &U) -> Result<(), SessionError> {
    if P::allows(user) {
        return Ok(());
    }
    Err(SessionError::NotAllowed { permission: std::any::type_name::<P>() })
}

/// Returns the address of the login page, which remembers where the user wanted to go.
fn login_location(login: &str, target: &str) -> String {
    let mut location = login.to_owned();
    let Some(target) = local_path(target) else { return location };
    location.push_str(if login.contains('?') { "&next=" } else { "?next=" });
    for byte in target.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                location.push(char::from(byte));
            }
            byte => location.push_str(&format!("%{byte:02X}")),
        }
    }
    location
}

/// Returns `next` if it is a path of this site, for a redirect after the login; `None` for anything that would lead a
/// browser to another site. Without this check your login page is an *open redirect*, which phishers look for.
///
/// Give it the parameter `next` that the login page got, after your framework decoded it.
///
/// ```
/// use secure_sessions::local_path;
///
/// assert_eq!(local_path("/orders?page=2"), Some("/orders?page=2"));
/// assert_eq!(local_path("//evil.example"), None);
/// assert_eq!(local_path("https://evil.example"), None);
///
/// fn after_login(next: Option<&str>) -> &str {
///     next.and_then(local_path).unwrap_or("/")
/// }
/// # assert_eq!(after_login(Some("/\\evil.example")), "/");
/// ```
#[must_use]
pub fn local_path(next: &str) -> Option<&str> {
    // Browsers read `\` as `/` and drop tabs and line breaks, so `/\t/evil.example` is another site. A URL in a header
    // is visible ASCII anyway.
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    is_local.then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_site_is_local() {
        for path in ["/", "/a", "/a/b?c=d&e=%20#f", "/a//b", "/@evil.example", "/:80", "/.//evil.example"] {
            assert_eq!(local_path(path), Some(path));
        }
        for path in [
            "",
            "a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/a\\b",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\nSet-Cookie: a=b",
            " /a",
            "/a b",
            "/\u{e9}",
            "/\0",
            "https://evil.example",
            "https:/evil.example",
            "javascript:alert(1)",
            "?next=/",
            "#a",
        ] {
            assert_eq!(local_path(path), None, "{path:?}");
        }
    }

    #[test]
    fn the_way_back_is_one_parameter_of_the_login_page() {
        for (login, target, expected) in [
            ("/login", "/orders?page=2&a=b#c", "/login?next=/orders%3Fpage%3D2%26a%3Db%23c"),
            ("/login?lang=de", "/%C3%A9", "/login?lang=de&next=/%25C3%25A9"),
            ("/login", "//evil.example", "/login"),
            ("https://id.example/login", "/", "https://id.example/login?next=/"),
        ] {
            assert_eq!(login_location(login, target), expected);
        }
    }
}
