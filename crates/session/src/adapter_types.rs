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

        /// The compiler's suggestion for `SessionError::TooLarge { .. }`: a match on the error's kind.
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

        /// The request's session. Dereferences to the engine's, which has the methods that cannot fail.
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
        impl Session {
            /// Returns the value of `key`, or `None` if it is absent.
            ///
            /// # Errors
            ///
            /// [`SessionError::Data`](crate::EngineError::Data) if the value is of another type: it stays as it is.
            /// [`SessionError::InVault`](crate::EngineError::InVault) if the value is in the [vault](Self::vault): read
            /// it with `session.vault().get(key).await`.
            #[inline]
            pub fn get<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok(self.0.get(key)?)
            }

            /// Sets `key` to `value`. An equal value changes nothing. With [`spill_over`](crate::Builder::spill_over),
            /// a large value goes to the [vault](Self::vault).
            ///
            /// # Errors
            ///
            /// [`SessionError::TooLarge`](crate::EngineError::TooLarge) if the session would outgrow its cookie,
            /// [`SessionError::Data`](crate::EngineError::Data) if the value cannot be encoded, or holds a `u128` or
            /// `i128` in or beside `#[serde(flatten)]`, which serde cannot read back,
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            /// Nothing is changed then.
            #[doc(alias = "set")]
            pub fn insert<T: $crate::macros::Serialize>(
                &self,
                key: &str,
                value: T,
            ) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.insert(key, value)?)
            }

            /// Returns the session's private and large values.
            #[must_use]
            pub fn vault(&self) -> Vault {
                Vault(self.0.vault())
            }

            /// Removes `key`. Returns `true` if it was present. [`take`](Self::take) also returns its value.
            ///
            /// # Errors
            ///
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            pub fn remove<K: $crate::KeyToRemove>(&self, key: K) -> ::core::result::Result<bool, SessionError> {
                Ok(self.0.remove(key)?)
            }

            /// Removes `key` and returns its value. Two parallel requests may both get it.
            ///
            /// ```
            /// # use secure_sessions::{Session, SessionError};
            /// fn check_out(session: &Session) -> Result<Vec<u32>, SessionError> {
            ///     Ok(session.take::<Vec<u32>>("cart")?.unwrap_or_default())
            /// }
            /// ```
            ///
            /// # Errors
            ///
            /// [`SessionError::Data`](crate::EngineError::Data) if the value is of another type: it stays.
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            #[doc(alias = "remove_as")]
            pub fn take<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok(self.0.take(key)?)
            }

            /// Changes the value of `key` in place, starting from the type's default if it is absent. No update is
            /// lost: if another request commits first, the closure runs again on the newer value.
            ///
            /// Returns the result of the closure's first run. The closure must have no side effects, and must not
            /// change the session.
            ///
            /// The closure may run again after this request's handler has returned, so it must own everything that it
            /// uses: write `move`, and clone in it whatever it would give away.
            ///
            /// ```
            /// # use secure_sessions::{Session, SessionError};
            /// fn visit(session: &Session) -> Result<u64, SessionError> {
            ///     session.update("visits", |visits: &mut u64| {
            ///         *visits += 1;
            ///         *visits
            ///     })
            /// }
            ///
            /// fn add(session: &Session, article: u32) -> Result<(), SessionError> {
            ///     session.update("cart", move |cart: &mut Vec<u32>| cart.push(article))
            /// }
            ///
            /// fn rename(session: &Session, name: String) -> Result<(), SessionError> {
            ///     // The closure is an `Fn`: it keeps `name` for its next run, and gives away a clone.
            ///     session.update("names", move |names: &mut Vec<String>| names.push(name.clone()))
            /// }
            /// ```
            ///
            /// # Errors
            ///
            /// The errors of [`get`](Self::get) and [`insert`](Self::insert), and
            /// [`SessionError::ChangedInsideUpdate`](crate::EngineError::ChangedInsideUpdate) if the closure changes
            /// the session.
            pub fn update<T, R, F>(&self, key: &str, change: F) -> ::core::result::Result<R, SessionError>
            where
                T: $crate::macros::Serialize + $crate::macros::DeserializeOwned + ::core::default::Default + 'static,
                F: Fn(&mut T) -> R + Send + Sync + 'static,
            {
                Ok(self.0.update(key, change)?)
            }

            /// Changes the value of `key` as [`update`](Self::update) does, starting from `default()` if it is absent.
            ///
            /// # Errors
            ///
            /// The errors of [`update`](Self::update).
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
                /// Removes all keys, also those in the [vault](Self::vault). The session continues, and its subject
                /// stays logged in.
                ///
                /// # Errors
                ///
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                clear();
                /// Logs a subject in: at commit the session moves to a new id with a fresh absolute lifetime, and the
                /// old cookie is refused from then on.
                ///
                /// 1. The data stays, unless *another* subject was logged in: then the new session begins empty,
                ///    without that subject's data, messages, label, persistence or lifetime.
                /// 2. The login succeeds even if the session ended meanwhile, as after a double click.
                /// 3. If the browser sent several live sessions, all of them end.
                ///
                /// # Errors
                ///
                /// [`SessionError::Meta`](crate::EngineError::Meta) if the subject is longer than 512 bytes,
                /// [`SessionError::TooLarge`](crate::EngineError::TooLarge) if it outgrows the cookie,
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                login(subject: &str);
                /// Moves the session to a new id at commit. Call it after any change of privilege. The old cookie is
                /// refused from then on; data and deadline stay.
                ///
                /// # Errors
                ///
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                #[doc(alias = "cycle_id")]
                renew();
                /// Records that the subject authenticated again, or with a second factor. This sets the assurance
                /// level, counts the authentication from now, and moves the session to a new id at commit, as
                /// [`renew`](Self::renew) does. Data and deadline stay; call [`login`](Self::login) for a fresh
                /// lifetime.
                ///
                /// # Errors
                ///
                /// [`SessionError::NotLoggedIn`](crate::EngineError::NotLoggedIn) if nobody is logged in,
                /// [`SessionError::TooLarge`](crate::EngineError::TooLarge) if the session would outgrow its cookie,
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                /// Nothing is changed then.
                step_up(level: u8);
                /// Refuses a subject who authenticated longer than `max_age` ago. Put it, with `?`, in front of a
                /// dangerous action.
                ///
                /// ```
                /// # use std::time::Duration;
                /// # use secure_sessions::{Session, SessionError};
                /// fn change_password(session: &Session) -> Result<(), SessionError> {
                ///     session.require_recent_auth(Duration::from_secs(5 * 60))?;
                ///     // ...
                ///     session.renew()
                /// }
                /// ```
                ///
                /// # Errors
                ///
                /// [`SessionError::NotLoggedIn`](crate::EngineError::NotLoggedIn) (401), or
                /// [`SessionError::AuthenticationTooOld`](crate::EngineError::AuthenticationTooOld) (403): ask for the
                /// password, then call [`step_up`](Self::step_up). To redirect to the page that asks, match on these
                /// errors, or give the adapter an `on_error`.
                require_recent_auth(max_age: ::core::time::Duration);
                /// Refuses a subject whose assurance level is below `required`.
                ///
                /// # Errors
                ///
                /// [`SessionError::NotLoggedIn`](crate::EngineError::NotLoggedIn) (401), or
                /// [`SessionError::AssuranceTooLow`](crate::EngineError::AssuranceTooLow) (403): ask for the second
                /// factor, then call [`step_up`](Self::step_up).
                require_assurance(required: u8);
                /// Sends the session that this request creates as a bearer token. Call it in the login route of an API
                /// where both transports are on ([`Builder::bearer`](crate::Builder::bearer)). It changes nothing if
                /// the request already uses bearer tokens.
                ///
                /// # Errors
                ///
                /// [`SessionError::NoBearer`](crate::EngineError::NoBearer) if bearer tokens are off, or if the request
                /// came with a live session in a cookie: such a session never becomes a bearer token.
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                use_bearer();
                /// Ends the session at commit, whatever the response's status, and removes the browser's cookie.
                ///
                /// 1. If another request renews the session at the same time, the renewed session ends too: the logout
                ///    follows it to its new id. If it cannot, the commit fails with
                ///    [`SessionError::Conflict`](crate::EngineError::Conflict) (409), so the user learns that they may
                ///    still be logged in.
                /// 2. If the browser sent several live sessions, all of them end.
                /// 3. Changes that you make after this call, in the same request, begin a new anonymous session with a
                ///    new id: a message for the next page, for example.
                ///    [`logout_keeping_data`](Self::logout_keeping_data) copies the data to it.
                ///
                /// # Errors
                ///
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                #[doc(alias = "flush")]
                #[doc(alias = "purge")]
                #[doc(alias = "destroy")]
                #[doc(alias = "delete")]
                logout();
                /// Ends the session as [`logout`](Self::logout) does, and begins a new anonymous one with its data: a
                /// basket, a language. The subject, messages, label and lifetime are not copied, and the old cookie is
                /// refused from then on.
                ///
                /// If the response's status discards changes, the session still ends, and the new one has the data as
                /// it was before the request. If another request has ended the session meanwhile, no new one begins.
                ///
                /// ```
                /// # use secure_sessions::{Session, SessionError};
                /// fn sign_out(session: &Session) -> Result<(), SessionError> {
                ///     session.remove("address")?; // The next visitor at this browser must not see it.
                ///     session.logout_keeping_data()
                /// }
                /// ```
                ///
                /// # Errors
                ///
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                logout_keeping_data();
                /// Ends every session of this session's subject at commit, including this one, and removes the
                /// browser's cookie. The response's status does not matter.
                ///
                /// As with [`logout`](Self::logout), a session that is renewed at the same time ends too.
                ///
                /// # Errors
                ///
                /// [`SessionError::NotLoggedIn`](crate::EngineError::NotLoggedIn) if nobody is logged in;
                /// [`SessionError::Ended`](crate::EngineError::Ended) if the request's session has just moved to
                /// another id, so that its subject is unknown: ask the user to log in.
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers were already
                /// sent.
                logout_everywhere();
                /// Sets this session's own absolute lifetime, counted from its creation or login.
                ///
                /// # Errors
                ///
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                set_lifetime(lifetime: ::core::time::Duration);
                /// Sets this session's own idle timeout.
                ///
                /// # Errors
                ///
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                set_idle_timeout(timeout: ::core::time::Duration);
                /// Sets whether this session's cookie outlives the browser session: "remember me".
                ///
                /// # Errors
                ///
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                set_persistent(persistent: bool);
                /// Sets the session's label in its owner's list of sessions: a device, a rough place. The store holds
                /// it sealed.
                ///
                /// # Errors
                ///
                /// [`SessionError::Label`](crate::EngineError::Label) if it is longer than 512 bytes,
                /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
                set_label(label: &str);
            }

            /// Logs a subject in as [`login`](Self::login) does, and records the details of `login`.
            ///
            /// # Errors
            ///
            /// The errors of [`login`](Self::login), [`SessionError::Label`](crate::EngineError::Label) if the label is
            /// longer than 512 bytes, and [`SessionError::Meta`](crate::EngineError::Meta) if a claim of
            /// [`Login::provider_session`](crate::Login::provider_session) is empty or too long. Nothing is changed then.
            pub fn login_with(&self, login: $crate::Login) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.login_with(login)?)
            }

            /// Commits now, inside the handler. Saved changes survive a later panic or 5xx.
            ///
            /// # Errors
            ///
            /// [`SessionError::Store`](crate::EngineError::Store) if the store fails,
            /// [`SessionError::Ended`](crate::EngineError::Ended) if the session has ended,
            /// [`SessionError::Conflict`](crate::EngineError::Conflict) if its newest state cannot be opened any more,
            /// [`SessionError::TooLarge`](crate::EngineError::TooLarge) if the merge with other requests' changes
            /// outgrows the cookie. On an error all changes stay pending, and are retried at the end of the request.
            pub async fn save(&self) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.save().await?)
            }

            /// Asks the store, and returns `true` if the session is still alive. Use it on long connections (WebSocket,
            /// server-sent events), whose session may end while they last.
            ///
            /// # Errors
            ///
            /// [`SessionError::Store`](crate::EngineError::Store) if the store fails.
            pub async fn is_live(&self) -> ::core::result::Result<bool, SessionError> {
                Ok(self.0.is_live().await?)
            }

            /// Adds a message for the next page that takes the messages, often after a redirect. The message survives
            /// renew and login, and ends with the session. If you add one after [`logout`](Self::logout), in the same
            /// request, it begins a new session: "You have been logged out."
            ///
            /// At most [`MAX_FLASHES`](crate::MAX_FLASHES) messages wait; the oldest beyond that are dropped. If there
            /// is no session, a message creates one.
            ///
            /// ```
            /// use secure_sessions::{FlashLevel, testing};
            ///
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> Result<(), secure_sessions::SessionError> {
            /// let (manager, _) = testing::manager();
            /// let begun = testing::session(&manager).with(|session| session.flash(FlashLevel::Success, "Saved."));
            /// # assert!(begun.cookie().await?.starts_with("session="));
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            ///
            /// [`SessionError::Flash`](crate::EngineError::Flash) if the text is longer than [`MAX_FLASH_LEN`] bytes,
            /// [`SessionError::TooLarge`](crate::EngineError::TooLarge) if the session would outgrow its cookie,
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            /// Nothing is changed then.
            pub fn flash(
                &self,
                level: $crate::FlashLevel,
                text: impl ::core::convert::Into<::std::string::String>,
            ) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.flash(level, text)?)
            }

            /// Removes the waiting messages, those of this request included, and returns them. They stay if the
            /// response's status discards changes.
            ///
            /// Each message is read once, except that two parallel requests may both get it. If none waits, nothing is
            /// changed.
            ///
            /// The messages are returned but stay if nobody sees the page: for the method `HEAD`, and if the browser
            /// only prefetches the page (`Sec-Purpose: prefetch`).
            ///
            /// # Errors
            ///
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            pub fn take_flashes(&self) -> ::core::result::Result<::std::vec::Vec<$crate::Flash>, SessionError> {
                Ok(self.0.take_flashes()?)
            }

            /// Refuses a request whose form field is not a CSRF token of this session, and raises an
            /// [`Event::CsrfMismatch`].
            ///
            /// # Errors
            ///
            /// [`SessionError::Csrf`](crate::EngineError::Csrf): status 403.
            pub fn verify_csrf_field(&self, field: &str) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.verify_csrf_field(field)?)
            }

            /// Returns a token that proves that a form came from a page of this session. Put it into a hidden field, or
            /// where scripts find it for the [header](crate::SessionManager::csrf_header). It is masked anew each time,
            /// so that compression cannot leak it (BREACH), and takes no room in the cookie.
            ///
            /// The token is valid as long as its session: renew, login and logout end it, a rotation does not. If there
            /// is no session, this creates one, so that a login form is protected too. Where the request's session is
            /// refused but must keep its cookie, such as that of another client, none is created: the token is then valid
            /// for a client with the same cookies that is served no session.
            ///
            /// # Errors
            ///
            /// [`SessionError::Random`](crate::EngineError::Random) if the system's randomness fails;
            /// [`SessionError::Finished`](crate::EngineError::Finished) if a session would have to be created and the
            /// response's headers are already sent.
            pub fn csrf_token(&self) -> ::core::result::Result<::std::string::String, SessionError> {
                Ok(self.0.csrf_token()?)
            }

            /// Returns all live sessions of this session's subject; an empty list if nobody is logged in.
            ///
            /// # Errors
            ///
            /// [`SessionError::Store`](crate::EngineError::Store) if the store fails.
            pub async fn sessions(
                &self,
            ) -> ::core::result::Result<::std::vec::Vec<$crate::SessionInfo>, SessionError> {
                Ok(self.0.sessions().await?)
            }

            /// Ends one session of this session's subject immediately. If it is this one, it is a
            /// [`logout`](Self::logout) at commit.
            ///
            /// # Errors
            ///
            /// [`SessionError::NotLoggedIn`](crate::EngineError::NotLoggedIn) if nobody is logged in;
            /// [`SessionError::NoSuchSession`](crate::EngineError::NoSuchSession) if the subject has no session of that
            /// name, even if another subject has one; [`SessionError::Store`](crate::EngineError::Store) if the store
            /// fails.
            pub async fn revoke(&self, handle: &$crate::Handle) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.revoke(handle).await?)
            }

            /// Ends all other sessions of this session's subject immediately, also right after a [`login`](Self::login)
            /// in the same request. Returns how many there were.
            ///
            /// # Errors
            ///
            /// [`SessionError::Store`](crate::EngineError::Store) if the store fails.
            pub async fn revoke_others(&self) -> ::core::result::Result<u64, SessionError> {
                Ok(self.0.revoke_others().await?)
            }
        }

        /// The session's private and large values: see the engine's type, which it dereferences to.
        #[derive(Clone, Debug)]
        pub struct Vault($crate::Vault);

        impl ::core::ops::Deref for Vault {
            type Target = $crate::Vault;

            fn deref(&self) -> &$crate::Vault {
                &self.0
            }
        }

        /// The engine's fallible methods, with this crate's error.
        impl Vault {
            /// Sets `key` to a private value. It is sealed and put into the store by the commit; this call only encodes
            /// it and checks the limits.
            ///
            /// An equal value counts as a change: the vault is not read to compare.
            ///
            /// # Errors
            ///
            /// [`SessionError::NoVault`](crate::EngineError::NoVault) if the manager has none,
            /// [`SessionError::Vault`](crate::EngineError::Vault) if the value or the session would exceed a limit,
            /// [`SessionError::TooLarge`](crate::EngineError::TooLarge) if the reference to it does not fit the cookie,
            /// [`SessionError::Data`](crate::EngineError::Data) if the value cannot be encoded,
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            /// Nothing is changed then.
            pub fn insert<T: $crate::macros::Serialize>(
                &self,
                key: &str,
                value: T,
            ) -> ::core::result::Result<(), SessionError> {
                Ok(self.0.insert(key, value)?)
            }

            /// Returns the value of `key`, or `None` if it is absent. If it is in the cookie, because it was small
            /// enough for [`spill_over`](crate::Builder::spill_over) to leave it there, it is read from there.
            ///
            /// # Errors
            ///
            /// [`SessionError::VaultLost`](crate::EngineError::VaultLost) if the store no longer has the value,
            /// [`SessionError::Data`](crate::EngineError::Data) if it is of another type,
            /// [`SessionError::Ended`](crate::EngineError::Ended) if the session ended meanwhile,
            /// [`SessionError::Conflict`](crate::EngineError::Conflict) if other requests replaced the value for five
            /// seconds, each time before it was read, [`SessionError::NoVault`](crate::EngineError::NoVault) or
            /// [`SessionError::Store`](crate::EngineError::Store).
            pub async fn get<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok(self.0.get(key).await?)
            }

            /// Returns the values of several keys in their order, `None` for each that is absent, in one round trip.
            ///
            /// # Errors
            ///
            /// The errors of [`get`](Self::get).
            pub async fn get_many<T: $crate::macros::DeserializeOwned>(
                &self,
                keys: &[&str],
            ) -> ::core::result::Result<::std::vec::Vec<::core::option::Option<T>>, SessionError> {
                Ok(self.0.get_many(keys).await?)
            }

            /// Returns all values in the vault by their keys, each in its CBOR encoding, in one round trip.
            ///
            /// # Errors
            ///
            /// The errors of [`get`](Self::get), except for [`SessionError::Data`](crate::EngineError::Data).
            pub async fn data(
                &self,
            ) -> ::core::result::Result<
                ::std::collections::BTreeMap<::std::string::String, $crate::SecretBytes>,
                SessionError,
            > {
                Ok(self.0.data().await?)
            }

            /// Removes `key`, in the vault or in the cookie. Returns `true` if it was present.
            ///
            /// # Errors
            ///
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            pub fn remove<K: $crate::KeyToRemove>(&self, key: K) -> ::core::result::Result<bool, SessionError> {
                Ok(self.0.remove(key)?)
            }

            /// Removes `key` and returns its value. Two parallel requests may both get it.
            ///
            /// # Errors
            ///
            /// The errors of [`get`](Self::get): the value stays.
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            pub async fn take<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok(self.0.take(key).await?)
            }

            /// Changes the value of `key` in place, starting from the type's default if it is absent. No update is
            /// lost: if another request replaces the value first, the commit reads the newer one, and the closure runs
            /// again on it.
            ///
            /// Returns the result of the closure's first run. The closure must have no side effects, and must not
            /// change the session.
            ///
            /// ```
            /// # use secure_sessions::{Session, SessionError};
            /// async fn note(session: &Session, text: String) -> Result<usize, SessionError> {
            ///     session
            ///         .vault()
            ///         .update("notes", move |notes: &mut Vec<String>| {
            ///             notes.push(text.clone());
            ///             notes.len()
            ///         })
            ///         .await
            /// }
            /// ```
            ///
            /// # Errors
            ///
            /// The errors of [`get`](Self::get) and [`insert`](Self::insert), and
            /// [`SessionError::ChangedInsideUpdate`](crate::EngineError::ChangedInsideUpdate) if the closure changes
            /// the session.
            pub async fn update<T, R, F>(&self, key: &str, change: F) -> ::core::result::Result<R, SessionError>
            where
                T: $crate::macros::Serialize + $crate::macros::DeserializeOwned + ::core::default::Default,
                F: Fn(&mut T) -> R + Send + Sync + 'static,
                R: Send,
            {
                Ok(self.0.update(key, change).await?)
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
            const SEC_PURPOSE: $header::HeaderName = $header::HeaderName::from_static("sec-purpose");
            const SURROGATE_CONTROL: $header::HeaderName = $header::HeaderName::from_static("surrogate-control");
            match name {
                "cookie" => $header::COOKIE,
                "authorization" => $header::AUTHORIZATION,
                "set-cookie" => $header::SET_COOKIE,
                "cache-control" => $header::CACHE_CONTROL,
                "vary" => $header::VARY,
                "content-length" => $header::CONTENT_LENGTH,
                "transfer-encoding" => $header::TRANSFER_ENCODING,
                "sec-purpose" => SEC_PURPOSE,
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
