//! For authors of adapters: the types that the orphan rule forbids to share.

/// Defines `Session`, `Typed<T>` and `SessionError` in an adapter crate.
///
/// Each wraps the engine's type of the same name and dereferences to it. Fallible methods are forwarded, so that they
/// give the adapter's `SessionError`, on which the adapter implements its framework's traits.
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
        /// What a handler meets when something is wrong with its session. Dereferences to the engine's
        /// error, whose variants say what.
        ///
        /// As a response it has the error's status, and a text that tells nothing of the server's inside.
        #[derive(Debug)]
        pub struct SessionError($crate::SessionError);

        impl SessionError {
            /// The engine's error, to be matched on.
            #[must_use]
            pub fn kind(&self) -> &$crate::SessionError {
                &self.0
            }

            /// The engine's error, to be kept.
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
        /// Extractors of one request share one state.
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
            /// The value under the key, if it is there.
            #[inline]
            pub fn get<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok(self.0.get(key)?)
            }

            /// Puts a value under the key. An equal one changes nothing.
            #[doc(alias = "set")]
            pub fn insert<T: $crate::macros::Serialize>(
                &self,
                key: &str,
                value: T,
            ) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.insert(key, value)?)
            }

            /// Takes the key out. Whether it was there.
            pub fn remove(&self, key: &str) -> ::core::result::Result<bool, SessionError> {
                Ok(self.0.remove(key)?)
            }

            /// Takes the key out and gives its value.
            #[doc(alias = "remove_as")]
            pub fn take<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok(self.0.take(key)?)
            }

            /// Changes the value under the key, or its type's default, in place; again after a conflict.
            pub fn update<T, R, F>(&self, key: &str, change: F) -> ::core::result::Result<R, SessionError>
            where
                T: $crate::macros::Serialize + $crate::macros::DeserializeOwned + ::core::default::Default + 'static,
                F: Fn(&mut T) -> R + Send + Sync + 'static,
            {
                Ok(self.0.update(key, change)?)
            }

            /// As `update`, with another value where there is none.
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
                /// Takes all keys out.
                clear();
                /// Logs a subject in: a new id, a fresh life; the old cookie is good for nothing.
                login(subject: &str);
                /// Moves the session to a new id.
                #[doc(alias = "cycle_id")]
                renew();
                /// The subject authenticated again, or with a second factor: a new id.
                step_up(level: u8);
                /// An error unless the subject authenticated at most so long ago.
                require_recent_auth(max_age: ::core::time::Duration);
                /// An error unless the subject authenticated at least this strongly.
                require_assurance(required: u8);
                /// Lets the session that this request makes travel as a bearer token.
                use_bearer();
                /// Ends the session and removes the browser's cookie.
                #[doc(alias = "flush")]
                #[doc(alias = "purge")]
                #[doc(alias = "destroy")]
                #[doc(alias = "delete")]
                logout();
                /// Ends the session, and begins a new anonymous one with its data.
                logout_keeping_data();
                /// Ends every session of this session's subject, this one included.
                logout_everywhere();
                /// Gives this session its own absolute lifetime.
                set_lifetime(lifetime: ::core::time::Duration);
                /// Gives this session its own idle timeout.
                set_idle_timeout(timeout: ::core::time::Duration);
                /// Lets this session's cookie outlive the browser session, or not.
                set_persistent(persistent: bool);
                /// Writes on the session, for its owner's list of sessions.
                set_label(label: &str);
            }

            /// Logs a subject in, with more than its name.
            pub fn login_with(&self, login: $crate::Login) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.login_with(login)?)
            }

            /// Commits now, inside the handler.
            pub async fn save(&self) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.save().await?)
            }

            /// Asks the store whether the session is still alive.
            pub async fn is_live(&self) -> ::core::result::Result<bool, SessionError> {
                Ok(self.0.is_live().await?)
            }

            /// Leaves a message for the next page that takes the messages.
            pub fn flash(
                &self,
                level: $crate::FlashLevel,
                text: impl ::core::convert::Into<::std::string::String>,
            ) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.flash(level, text)?)
            }

            /// Takes the messages that wait.
            pub fn take_flashes(&self) -> ::core::result::Result<::std::vec::Vec<$crate::Flash>, SessionError> {
                Ok(self.0.take_flashes()?)
            }

            /// Refuses a request whose form field is no CSRF token of this session.
            pub fn verify_csrf_field(&self, field: &str) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.verify_csrf_field(field)?)
            }

            /// A token that proves that a form came from a page of this session.
            pub fn csrf_token(&self) -> ::core::result::Result<::std::string::String, SessionError> {
                Ok(self.0.csrf_token()?)
            }

            /// All live sessions of this session's subject.
            pub async fn sessions(
                &self,
            ) -> ::core::result::Result<::std::vec::Vec<$crate::SessionInfo>, SessionError> {
                Ok(self.0.sessions().await?)
            }

            /// Ends one session of this session's subject, at once.
            pub async fn revoke(&self, handle: &$crate::Handle) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.revoke(handle).await?)
            }

            /// Ends all other sessions of this session's subject, at once.
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
            /// If a field is of another type.
            pub fn new(session: &Session) -> ::core::result::Result<Self, SessionError> {
                Ok(Self($crate::Typed::new(session.0.clone())?))
            }

            /// Changes the value, again after a conflict; only the fields that it changed are written.
            ///
            /// # Errors
            ///
            /// As `Session::update`.
            pub fn update<R>(
                &mut self,
                change: impl Fn(&mut T) -> R + Send + Sync + 'static,
            ) -> ::core::result::Result<R, SessionError> {
                Ok(self.0.update(change)?)
            }

            /// Replaces the value; only the fields that differ are written.
            ///
            /// # Errors
            ///
            /// As `Session::insert`.
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

/// What the macro's output names.
#[doc(hidden)]
pub mod macros {
    pub use serde::Serialize;
    pub use serde::de::DeserializeOwned;
}

/// Defines `known` and `fixed` in an adapter for a framework whose headers are those of the crate `http`, in whichever
/// version: the header names and values that every request with a session needs, without parsing them each time.
///
/// The argument is the module that has `HeaderName` and `HeaderValue`.
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
        /// The header's name, given in lower case.
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

        /// A header's value that never changes.
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
