//! Types that every adapter defines for itself, because the orphan rule forbids to share them.

/// Defines `Session`, `Typed<T>` and `SessionError` in an adapter crate.
///
/// Each wraps the engine's type of the same name and dereferences to it. Fallible methods are forwarded and return the
/// adapter's `SessionError`, on which the adapter implements its framework's traits.
///
/// ```
/// secure_sessions::adapter_types!();
///
/// // An adapter implements its framework's extractor on `Session` and `Typed<T>`, and its response on `SessionError`.
/// fn extracted(session: secure_sessions::Session) -> Session {
///     Session::from(session)
/// }
/// ```
#[macro_export]
macro_rules! adapter_types {
    () => {
        /// The error of a handler's session methods. Dereferences to the engine's error, whose variants name the cause.
        ///
        /// As a response it has the error's status, and a text that reveals nothing about the server's internals. To
        /// treat one cause on its own, match on [`kind`](Self::kind) with the variants of `EngineError`.
        #[doc(alias = "TooLarge")]
        pub struct SessionError($crate::SessionError);

        /// What the compiler suggests for `SessionError::TooLarge { .. }`: a match on the error's kind.
        #[doc(hidden)]
        #[allow(missing_docs, reason = "only its name matters, which the compiler shows")]
        pub trait MatchOnKindWithEngineError {
            type TooLarge;
            type Flash;
            type AuthenticationTooOld;
            type AssuranceTooLow;
            type TooManySessions;
        }

        impl MatchOnKindWithEngineError for SessionError {
            type TooLarge = $crate::SessionError;
            type Flash = $crate::SessionError;
            type AuthenticationTooOld = $crate::SessionError;
            type AssuranceTooLow = $crate::SessionError;
            type TooManySessions = $crate::SessionError;
        }

        impl ::core::fmt::Debug for SessionError {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl SessionError {
            /// Returns the engine's error, for you to match on.
            #[must_use]
            pub fn kind(&self) -> &$crate::SessionError {
                &self.0
            }

            /// Converts this into the engine's error, for you to keep.
            #[must_use]
            pub fn into_kind(self) -> $crate::SessionError {
                self.0
            }
        }

        impl ::core::convert::From<$crate::SessionError> for SessionError {
            fn from(error: $crate::SessionError) -> Self {
                Self(error)
            }
        }

        impl ::core::ops::Deref for SessionError {
            type Target = $crate::SessionError;

            fn deref(&self) -> &$crate::SessionError {
                &self.0
            }
        }

        impl ::core::fmt::Display for SessionError {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::core::error::Error for SessionError {
            fn source(&self) -> ::core::option::Option<&(dyn ::core::error::Error + 'static)> {
                ::core::error::Error::source(&self.0)
            }
        }

        /// The request's session. Dereferences to the engine's, where every method is documented.
        ///
        /// All extractors of one request share one state.
        #[derive(Clone, Debug)]
        pub struct Session($crate::Session);

        impl ::core::convert::From<$crate::Session> for Session {
            fn from(session: $crate::Session) -> Self {
                Self(session)
            }
        }

        impl ::core::ops::Deref for Session {
            type Target = $crate::Session;

            fn deref(&self) -> &$crate::Session {
                &self.0
            }
        }

        /// The engine's fallible methods, with this crate's error.
        #[allow(clippy::missing_errors_doc, reason = "each is documented on the engine's method of the same name")]
        impl Session {
            /// Returns the value of `key`, or `None` if it is absent.
            #[inline]
            pub fn get<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok(self.0.get(key)?)
            }

            /// Sets the value of `key`. An equal value changes nothing.
            #[doc(alias = "set")]
            pub fn insert<T: $crate::macros::Serialize>(
                &self,
                key: &str,
                value: T,
            ) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.insert(key, value)?)
            }

            /// Removes `key`. Returns `true` if it was present. [`take`](Self::take) also returns its value.
            pub fn remove<K: $crate::KeyToRemove>(&self, key: K) -> ::core::result::Result<bool, SessionError> {
                Ok(self.0.remove(key)?)
            }

            /// Removes `key`. Returns its value, or `None` if it was absent.
            #[doc(alias = "remove_as")]
            pub fn take<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok(self.0.take(key)?)
            }

            /// Changes the value of `key` in place, starting from its type's default if it is absent. Runs again after
            /// a conflict, so the closure must own what it uses: write `move`, and clone in it whatever it gives away, as in
            /// `session.update("names", move |names: &mut Vec<String>| names.push(name.clone()))?`.
            pub fn update<T, R, F>(&self, key: &str, change: F) -> ::core::result::Result<R, SessionError>
            where
                T: $crate::macros::Serialize + $crate::macros::DeserializeOwned + ::core::default::Default + 'static,
                F: Fn(&mut T) -> R + Send + Sync + 'static,
            {
                Ok(self.0.update(key, change)?)
            }

            /// Changes the value of `key` as `update` does, starting from `default` if it is absent.
            pub fn update_or<T, R, D, F>(
                &self,
                key: &str,
                default: D,
                change: F,
            ) -> ::core::result::Result<R, SessionError>
            where
                T: $crate::macros::Serialize + $crate::macros::DeserializeOwned + 'static,
                D: Fn() -> T + Send + Sync + 'static,
                F: Fn(&mut T) -> R + Send + Sync + 'static,
            {
                Ok(self.0.update_or(key, default, change)?)
            }

            $crate::adapter_types! { @forward
                /// Removes all keys.
                clear();
                /// Logs a subject in with a new id and a fresh lifetime. The old cookie is refused from then on.
                login(subject: &str);
                /// Moves the session to a new id.
                #[doc(alias = "cycle_id")]
                renew();
                /// Records that the subject authenticated again, or with a second factor. Moves the session to a new
                /// id.
                step_up(level: u8);
                /// Returns an error unless the subject authenticated within the last `max_age`.
                require_recent_auth(max_age: ::core::time::Duration);
                /// Returns an error unless the subject authenticated at the level `required` or higher.
                require_assurance(required: u8);
                /// Lets the session that this request creates travel as a bearer token.
                use_bearer();
                /// Ends the session and removes the browser's cookie.
                #[doc(alias = "flush")]
                #[doc(alias = "purge")]
                #[doc(alias = "destroy")]
                #[doc(alias = "delete")]
                logout();
                /// Ends the session, and starts a new anonymous one with its data.
                logout_keeping_data();
                /// Ends every session of this session's subject, this one included.
                logout_everywhere();
                /// Gives this session its own absolute lifetime.
                set_lifetime(lifetime: ::core::time::Duration);
                /// Gives this session its own idle timeout.
                set_idle_timeout(timeout: ::core::time::Duration);
                /// Sets whether this session's cookie outlives the browser session.
                set_persistent(persistent: bool);
                /// Labels the session for its owner's list of sessions.
                set_label(label: &str);
            }

            /// Logs a subject in with the settings of a `Login`.
            pub fn login_with(&self, login: $crate::Login) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.login_with(login)?)
            }

            /// Commits the session now, inside the handler.
            pub async fn save(&self) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.save().await?)
            }

            /// Asks the store for the session. Returns `true` if it is still live.
            pub async fn is_live(&self) -> ::core::result::Result<bool, SessionError> {
                Ok(self.0.is_live().await?)
            }

            /// Adds a message for the next page that takes the messages.
            pub fn flash(
                &self,
                level: $crate::FlashLevel,
                text: impl ::core::convert::Into<::std::string::String>,
            ) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.flash(level, text)?)
            }

            /// Removes the waiting messages and returns them.
            pub fn take_flashes(&self) -> ::core::result::Result<::std::vec::Vec<$crate::Flash>, SessionError> {
                Ok(self.0.take_flashes()?)
            }

            /// Returns an error unless the form field is a CSRF token of this session.
            pub fn verify_csrf_field(&self, field: &str) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.verify_csrf_field(field)?)
            }

            /// Returns a token that proves that a form came from a page of this session.
            pub fn csrf_token(&self) -> ::core::result::Result<::std::string::String, SessionError> {
                Ok(self.0.csrf_token()?)
            }

            /// Returns all live sessions of this session's subject.
            pub async fn sessions(
                &self,
            ) -> ::core::result::Result<::std::vec::Vec<$crate::SessionInfo>, SessionError> {
                Ok(self.0.sessions().await?)
            }

            /// Ends one session of this session's subject immediately.
            pub async fn revoke(&self, handle: &$crate::Handle) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.revoke(handle).await?)
            }

            /// Ends all other sessions of this session's subject immediately. Returns how many there were.
            pub async fn revoke_others(&self) -> ::core::result::Result<u64, SessionError> {
                Ok(self.0.revoke_others().await?)
            }
        }

        /// The session as a `T`, whose fields are its top-level keys. Dereferences to the engine's view, and on to
        /// the `T`.
        #[derive(Debug)]
        pub struct Typed<T>($crate::Typed<T>);

        impl<T: $crate::SessionData> Typed<T> {
            /// Decodes the session's data.
            ///
            /// # Errors
            ///
            /// Fails if a field is of another type.
            pub fn new(session: &Session) -> ::core::result::Result<Self, SessionError> {
                Ok(Self($crate::Typed::new(session.0.clone())?))
            }

            /// Changes the value in place, and again after a conflict. Writes only the fields that changed.
            ///
            /// # Errors
            ///
            /// Fails as `Session::update` does.
            pub fn update<R>(
                &mut self,
                change: impl Fn(&mut T) -> R + Send + Sync + 'static,
            ) -> ::core::result::Result<R, SessionError> {
                Ok(self.0.update(change)?)
            }

            /// Replaces the value. Writes only the fields that differ.
            ///
            /// # Errors
            ///
            /// Fails as `Session::insert` does.
            pub fn set(&mut self, value: T) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.set(value)?)
            }
        }

        impl<T> ::core::ops::Deref for Typed<T> {
            type Target = $crate::Typed<T>;

            fn deref(&self) -> &$crate::Typed<T> {
                &self.0
            }
        }
    };
    (@forward $($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty)?);)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&self $(, $argument: $type)?) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.$name($($argument)?)?)
            }
        )*
    };
}

/// Names that the macro's output uses.
#[doc(hidden)]
pub mod macros {
    pub use serde::Serialize;
    pub use serde::de::DeserializeOwned;
}

/// Defines `known` and `fixed` in an adapter for a framework that uses the headers of the crate `http`, in any version.
/// They return the header names and values that every request with a session needs, without parsing them each time.
///
/// The argument is the module that exports `HeaderName` and `HeaderValue`.
///
/// ```
/// mod headers {
///     use http::header;
///
///     secure_sessions::adapter_headers!(header);
///
///     pub fn no_store() -> (header::HeaderName, header::HeaderValue) {
///         (known("cache-control"), fixed("no-store"))
///     }
/// }
/// assert_eq!(headers::no_store(), (http::header::CACHE_CONTROL, "no-store".parse().unwrap()));
/// ```
#[macro_export]
macro_rules! adapter_headers {
    ($header:ident) => {
        /// Returns the header's name, given in lower case.
        fn known(name: &'static str) -> $header::HeaderName {
            const CDN_CACHE_CONTROL: $header::HeaderName = $header::HeaderName::from_static("cdn-cache-control");
            const SURROGATE_CONTROL: $header::HeaderName = $header::HeaderName::from_static("surrogate-control");
            match name {
                "cookie" => $header::COOKIE,
                "authorization" => $header::AUTHORIZATION,
                "set-cookie" => $header::SET_COOKIE,
                "cache-control" => $header::CACHE_CONTROL,
                "vary" => $header::VARY,
                "content-length" => $header::CONTENT_LENGTH,
                "transfer-encoding" => $header::TRANSFER_ENCODING,
                "cdn-cache-control" => CDN_CACHE_CONTROL,
                "surrogate-control" => SURROGATE_CONTROL,
                name => $header::HeaderName::from_static(name),
            }
        }

        /// Returns a constant header value.
        fn fixed(value: &'static str) -> $header::HeaderValue {
            const NO_STORE: $header::HeaderValue = $header::HeaderValue::from_static("no-store");
            const COOKIE: $header::HeaderValue = $header::HeaderValue::from_static("Cookie");
            match value {
                "no-store" => NO_STORE,
                "Cookie" => COOKIE,
                value => $header::HeaderValue::from_static(value),
            }
        }
    };
}
