//! Types that decide who may do something. Every adapter defines them for itself, as those of `adapter_types`.

/// Defines `LoggedIn<U>` and the other types of access in an adapter crate, in a module where `Session`, `SessionError`
/// and `Typed` of [`adapter_types!`](crate::adapter_types) are in scope. The adapter gives each type its documentation,
/// with an example of its framework, and implements its framework's extractor on it.
#[macro_export]
macro_rules! adapter_access {
    (
        $(#[$logged_in:meta])* LoggedIn;
        $(#[$maybe:meta])* MaybeLoggedIn;
        $(#[$allowed:meta])* Allowed;
        $(#[$untouched:meta])* Untouched;
        $(#[$csrf_form:meta])* CsrfForm;
        $(#[$typed:meta])* TypedOrDefault;
    ) => {
        impl ::core::convert::From<SessionError> for $crate::SessionError {
            fn from(error: SessionError) -> Self {
                error.into_kind()
            }
        }

        /// The engine's fallible methods, with this crate's error.
        impl Session {
            /// Removes `key`, commits, and returns the value only if this commit removed it. Of all requests that take
            /// one value, at whatever host, one gets it. Use it for the state and the PKCE verifier of an OAuth login,
            /// the challenge of a passkey, a one-time link.
            ///
            /// 1. It commits all changes that this request made so far, as [`save`](Self::save) does: the value is
            ///    spent even if the handler fails afterwards. Call it before [`login`](Self::login).
            /// 2. If `key` is absent, it returns `None` and commits nothing.
            /// 3. After a store's error it is not known whether the value was removed. A second call in the same
            ///    request finds out: it returns the value if the first call removed it, and tries again otherwise.
            ///
            /// ```
            /// use secure_sessions::{Session, SessionError};
            ///
            /// /// Of the route that the identity provider redirects to.
            /// async fn is_ours(session: &Session, state: &str) -> Result<bool, SessionError> {
            ///     let expected = session.take_once::<String>("oauth_state").await?;
            ///     Ok(expected.is_some_and(|expected| expected == state))
            /// }
            /// # use secure_sessions::testing;
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SessionError> {
            /// # let (manager, _) = testing::manager();
            /// # let cookie = testing::session(&manager).insert("oauth_state", "xyz").cookie().await?;
            /// # let request = manager.begin();
            /// # struct Head(String);
            /// # impl secure_sessions::RequestHead for Head {
            /// #     fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
            /// #         if name == "cookie" { visit(self.0.as_bytes()) }
            /// #     }
            /// #     fn method(&self) -> &str { "GET" }
            /// # }
            /// # let session = request.session(&Head(cookie)).await?;
            /// # assert!(is_ours(&session, "xyz").await?);
            /// # assert!(!is_ours(&session, "xyz").await?);
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            ///
            /// [`SessionError::Data`](crate::EngineError::Data) if the value is of another type: it stays.
            /// [`SessionError::InVault`](crate::EngineError::InVault) if it is in the vault: it stays there too.
            /// Otherwise the errors of [`save`](Self::save): with [`SessionError::Ended`](crate::EngineError::Ended),
            /// another request may have taken the value and logged in with it.
            pub async fn take_once<T: $crate::macros::DeserializeOwned>(
                &self,
                key: &str,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok((**self).take_once(key).await?)
            }

            /// Keeps a session alive from a long connection (WebSocket, server-sent events), whose request does not
            /// last: asks the store, writes that the session is in use if that is due, and returns `true` if it is
            /// still alive.
            ///
            /// Unlike changes of the data it works after the response's headers are sent. Call it when the *user* does
            /// something, and [`is_live`](Self::is_live) to find out whether the session has ended: a connection that
            /// touches by a timer never lets its session time out.
            ///
            /// ```
            /// use secure_sessions::{Session, SessionError};
            ///
            /// /// Of each message that the user sends. Close the connection if it returns `false`.
            /// async fn received(session: &Session, message: &str) -> Result<bool, SessionError> {
            ///     if !session.touch().await? {
            ///         return Ok(false);
            ///     }
            ///     // ... handle the message
            ///     Ok(true)
            /// }
            /// ```
            ///
            /// # Errors
            ///
            /// [`SessionError::Store`](crate::EngineError::Store) if the store fails.
            pub async fn touch(&self) -> ::core::result::Result<bool, SessionError> {
                Ok((**self).touch().await?)
            }

            /// Remembers the user for this long, even without a visit in between: "stay logged in". It makes the cookie
            /// [persistent](Self::set_persistent), and sets the absolute lifetime and the idle timeout of this session,
            /// both counted as by [`set_lifetime`](Self::set_lifetime) and
            /// [`set_idle_timeout`](Self::set_idle_timeout).
            ///
            /// Call it after [`login`](Self::login). Browsers keep a cookie for at most 400 days.
            ///
            /// ```
            /// use std::time::Duration;
            /// use secure_sessions::{Session, SessionError};
            ///
            /// fn log_in(session: &Session, user: &str, stay_logged_in: bool) -> Result<(), SessionError> {
            ///     session.login(user)?;
            ///     if stay_logged_in {
            ///         session.remember_for(Duration::from_secs(30 * 24 * 60 * 60))?;
            ///     }
            ///     Ok(())
            /// }
            /// ```
            ///
            /// # Errors
            ///
            /// [`SessionError::Finished`](crate::EngineError::Finished) if the response's headers are already sent.
            #[doc(alias = "remember_me")]
            pub fn remember_for(&self, duration: ::core::time::Duration) -> ::core::result::Result<(), SessionError> {
                Ok((**self).remember_for(duration)?)
            }

            /// Returns the subject as a `T`, such as the number that your database knows a user by; `None` if nobody is
            /// logged in.
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
            /// [`SessionError::Subject`](crate::EngineError::Subject) if the subject is not a `T`: a release before
            /// this one logged its users in under something else.
            pub fn subject_as<T: ::core::str::FromStr>(
                &self,
            ) -> ::core::result::Result<::core::option::Option<T>, SessionError> {
                Ok((**self).subject_as()?)
            }

            /// Returns a hidden input with a [CSRF token](Self::csrf_token), to put into each form that posts back. The
            /// adapters' `CsrfForm` verifies it.
            ///
            /// It is HTML and needs no escaping: tell your templates not to escape it, by the filter `safe` for
            /// example.
            ///
            /// ```
            /// use secure_sessions::{Session, SessionError};
            ///
            /// fn page(session: &Session) -> Result<String, SessionError> {
            ///     let csrf = session.csrf_field()?;
            ///     Ok(format!("<form method='post'>{csrf}<input name='amount'><button>Pay</button></form>"))
            /// }
            /// # use secure_sessions::testing;
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SessionError> {
            /// # let (manager, _) = testing::manager();
            /// # testing::session(&manager).with(|session| {
            /// #     assert!(page(session)?.contains(r#"<input type="hidden" name="csrf_token" value=""#));
            /// #     Ok(())
            /// # }).cookie().await?;
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            ///
            /// The errors of [`csrf_token`](Self::csrf_token).
            pub fn csrf_field(&self) -> ::core::result::Result<::std::string::String, SessionError> {
                Ok((**self).csrf_field()?)
            }
        }

        /// The subject of a session: the text that was passed to `login`.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct Subject(::std::string::String);

        impl Subject {
            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Parses the text, for example into the number that your database knows a user by.
            ///
            /// # Errors
            ///
            /// Fails with status 500 if the subject is not a `T`: a release before this one logged its users in under
            /// something else.
            pub fn parse<T: ::core::str::FromStr>(&self) -> ::core::result::Result<T, SessionError> {
                Ok($crate::parse_subject(&self.0)?)
            }
        }

        impl ::core::fmt::Display for Subject {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(&self.0)
            }
        }

        $(#[$logged_in])*
        #[derive(Clone, Debug)]
        pub struct LoggedIn<U = Subject> {
            session: Session,
            subject: Subject,
            user: U,
        }

        impl LoggedIn {
            /// Returns the subject that the session belongs to; `None` if nobody is logged in.
            #[must_use]
            pub fn of(session: Session) -> ::core::option::Option<Self> {
                let subject = Subject(session.subject()?);
                ::core::option::Option::Some(Self { session, user: subject.clone(), subject })
            }
        }

        impl<U: $crate::User> LoggedIn<U> {
            /// Loads the user that the session belongs to; `None` if nobody is logged in. If the user is gone, the
            /// session is logged out.
            ///
            /// # Errors
            ///
            /// Fails if the user cannot be loaded.
            pub async fn load(
                session: Session,
                state: &U::State,
            ) -> ::core::result::Result<::core::option::Option<Self>, SessionError> {
                let subject = session.subject().map(Subject);
                let user = session.user(state).await?;
                Ok(subject.zip(user).map(|(subject, user)| Self { session, subject, user }))
            }
        }

        impl<U> LoggedIn<U> {
            /// Returns the subject: the text that was passed to `login`.
            #[must_use]
            pub fn subject(&self) -> &str {
                &self.subject.0
            }

            /// Parses the subject, for example into the number that your database knows a user by.
            ///
            /// # Errors
            ///
            /// Fails with status 500 if the subject is not a `T`.
            pub fn subject_as<T: ::core::str::FromStr>(&self) -> ::core::result::Result<T, SessionError> {
                self.subject.parse()
            }

            /// Returns the session.
            #[must_use]
            pub fn session(&self) -> &Session {
                &self.session
            }

            /// Returns the user.
            #[must_use]
            pub fn user(&self) -> &U {
                &self.user
            }

            /// Returns the user, for you to keep.
            #[must_use]
            pub fn into_user(self) -> U {
                self.user
            }
        }

        impl<U> ::core::ops::Deref for LoggedIn<U> {
            type Target = U;

            fn deref(&self) -> &U {
                &self.user
            }
        }

        $(#[$maybe])*
        #[derive(Clone, Debug)]
        pub struct MaybeLoggedIn<U = Subject>(pub ::core::option::Option<LoggedIn<U>>);

        impl<U> ::core::ops::Deref for MaybeLoggedIn<U> {
            type Target = ::core::option::Option<LoggedIn<U>>;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        impl<U> MaybeLoggedIn<U> {
            /// Turns the refusal of a request that nobody is logged in for into `None`.
            pub(crate) fn of(
                found: ::core::result::Result<LoggedIn<U>, SessionError>,
            ) -> ::core::result::Result<Self, SessionError> {
                match found {
                    Ok(user) => Ok(Self(Some(user))),
                    Err(error) if error.is_not_logged_in() => Ok(Self(None)),
                    Err(error) => Err(error),
                }
            }
        }

        $(#[$allowed])*
        pub struct Allowed<P, U = Subject> {
            user: LoggedIn<U>,
            permission: ::core::marker::PhantomData<fn() -> P>,
        }

        impl<P: $crate::Permission<U>, U> Allowed<P, U> {
            /// Checks the permission of a user who is logged in.
            ///
            /// # Errors
            ///
            /// Fails with status 403 if the user does not have the permission `P`.
            pub fn check(user: LoggedIn<U>) -> ::core::result::Result<Self, SessionError> {
                $crate::check_permission::<P, U>(&user.user)?;
                Ok(Self { user, permission: ::core::marker::PhantomData })
            }
        }

        impl<P, U> Allowed<P, U> {
            /// Returns the user who is logged in.
            #[must_use]
            pub fn into_inner(self) -> LoggedIn<U> {
                self.user
            }
        }

        impl<P, U> ::core::ops::Deref for Allowed<P, U> {
            type Target = LoggedIn<U>;

            fn deref(&self) -> &LoggedIn<U> {
                &self.user
            }
        }

        impl<P, U: ::core::fmt::Debug> ::core::fmt::Debug for Allowed<P, U> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_tuple("Allowed").field(&self.user).finish()
            }
        }

        $(#[$untouched])*
        #[derive(Clone, Debug)]
        pub struct Untouched(pub Session);

        impl ::core::ops::Deref for Untouched {
            type Target = Session;

            fn deref(&self) -> &Session {
                &self.0
            }
        }

        $(#[$csrf_form])*
        #[derive(Clone, Debug)]
        pub struct CsrfForm<T> {
            /// The session that the form came from.
            pub session: Session,
            /// The form, without the field `csrf_token`.
            pub form: T,
        }

        impl<T> ::core::ops::Deref for CsrfForm<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.form
            }
        }

        $(#[$typed])*
        #[derive(Debug)]
        pub struct TypedOrDefault<T>(pub Typed<T>);

        impl<T: $crate::SessionData> TypedOrDefault<T> {
            /// Decodes the session's data. A field of another type counts as absent.
            ///
            /// # Errors
            ///
            /// Fails if `T::default()` itself cannot be read back.
            pub fn new(session: &Session) -> ::core::result::Result<Self, SessionError> {
                Ok(Self(Typed($crate::Typed::or_default((**session).clone())?)))
            }
        }

        impl<T> ::core::ops::Deref for TypedOrDefault<T> {
            type Target = Typed<T>;

            fn deref(&self) -> &Typed<T> {
                &self.0
            }
        }

        impl<T> ::core::ops::DerefMut for TypedOrDefault<T> {
            fn deref_mut(&mut self) -> &mut Typed<T> {
                &mut self.0
            }
        }
    };
}
