//! The extractors that decide who may do something, and what a request may do to its session.

use axum::extract::{Form, FromRef, OriginalUri, rejection::FormRejection};
use axum_core::body::Body;
use axum_core::extract::rejection::BytesRejection;
use axum_core::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum_core::response::{IntoResponse, Response};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use secure_sessions::{Permission, SessionData, User};
use serde::de::DeserializeOwned;

use crate::headers::Head;
use crate::{Session, SessionError, SessionExt, Typed};

secure_sessions::adapter_access! {
    /// The user who is logged in. Without a type it is the [`Subject`] of the session; `LoggedIn<U>` loads your own `U`
    /// by its [`User`] trait. Dereferences to the user.
    ///
    /// 1. If nobody is logged in, the request is answered with 401, or, if the builder has a
    ///    [`login_url`](crate::Builder::login_url) and a browser navigates, with a redirect to the login page.
    /// 2. If the user is gone ([`User::load`] returns `None`), the session is logged out, and the request answered
    ///    likewise.
    /// 3. `Option<LoggedIn<U>>` is `None` if nobody is logged in. If the store fails, or the user cannot be loaded, it
    ///    is an error all the same: nobody must take a failure for a logout.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::convert::Infallible;
    /// use axum::extract::{FromRef, Query};
    /// use axum::response::Redirect;
    /// use axum::{Router, routing::get};
    /// use secure_sessions_axum::{LoggedIn, Session, SessionError, User, local_path};
    ///
    /// #[derive(Clone)]
    /// struct Account {
    ///     name: String,
    /// }
    ///
    /// /// A database, in real life.
    /// #[derive(Clone)]
    /// struct Accounts(HashMap<String, Account>);
    ///
    /// impl User for Account {
    ///     type State = Accounts;
    ///     type Error = Infallible;
    ///
    ///     async fn load(subject: &str, accounts: &Accounts) -> Result<Option<Self>, Infallible> {
    ///         Ok(accounts.0.get(subject).cloned())
    ///     }
    /// }
    ///
    /// #[derive(Clone)]
    /// struct AppState {
    ///     accounts: Accounts,
    /// }
    ///
    /// impl FromRef<AppState> for Accounts {
    ///     fn from_ref(state: &AppState) -> Self {
    ///         state.accounts.clone()
    ///     }
    /// }
    ///
    /// async fn hello(account: LoggedIn<Account>) -> String {
    ///     format!("Hello, {}!", account.name)
    /// }
    ///
    /// async fn orders(user: LoggedIn) -> Result<String, SessionError> {
    ///     let id: u64 = user.subject_as()?;
    ///     Ok(format!("the orders of user {id}"))
    /// }
    ///
    /// async fn front_page(user: Option<LoggedIn>) -> &'static str {
    ///     if user.is_some() { "Welcome back!" } else { "Welcome!" }
    /// }
    ///
    /// /// Behind a form that asks for a password.
    /// async fn log_in(
    ///     session: Session,
    ///     Query(query): Query<HashMap<String, String>>,
    /// ) -> Result<Redirect, SessionError> {
    ///     session.login("4711")?;
    ///     let next = query.get("next").and_then(|next| local_path(next)).unwrap_or("/");
    ///     Ok(Redirect::to(next))
    /// }
    ///
    /// let app: Router<AppState> = Router::new()
    ///     .route("/", get(front_page))
    ///     .route("/hello", get(hello))
    ///     .route("/orders", get(orders))
    ///     .route("/login", get(log_in));
    /// ```
    LoggedIn;
    /// The user who is logged in, if anybody is: the same as `Option<LoggedIn<U>>`, under the name that it has in every
    /// adapter.
    MaybeLoggedIn;
    /// The user who is logged in and has the permission `P`. Any other user is answered with 403; a request that nobody
    /// is logged in for as by [`LoggedIn`]. Dereferences to the [`LoggedIn`] user.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// use secure_sessions_axum::{Allowed, Permission, User};
    ///
    /// struct Account {
    ///     name: String,
    ///     is_admin: bool,
    /// }
    /// # impl User for Account {
    /// #     type State = ();
    /// #     type Error = Infallible;
    /// #     async fn load(subject: &str, _: &()) -> Result<Option<Self>, Infallible> {
    /// #         Ok(Some(Self { name: subject.to_owned(), is_admin: false }))
    /// #     }
    /// # }
    ///
    /// struct Admin;
    ///
    /// impl Permission<Account> for Admin {
    ///     fn allows(account: &Account) -> bool {
    ///         account.is_admin
    ///     }
    /// }
    ///
    /// async fn delete_everything(admin: Allowed<Admin, Account>) -> String {
    ///     format!("{} is allowed to", admin.name)
    /// }
    /// # let app: axum::Router = axum::Router::new().route("/", axum::routing::delete(delete_everything));
    /// ```
    Allowed;
    /// A session that this request reads without keeping it alive: for a page that polls in the background, which would
    /// otherwise keep the session of a user who has left. See [`RequestSession::untouched`].
    ///
    /// Put it in front of all other extractors of the session. If a middleware looks at the session first, mark the
    /// request before that, by [`SessionExt::untouched`].
    ///
    /// ```
    /// use secure_sessions_axum::{SessionError, Untouched};
    ///
    /// async fn unread(session: Untouched) -> Result<String, SessionError> {
    ///     Ok(session.get::<u64>("unread")?.unwrap_or_default().to_string())
    /// }
    /// # let app: axum::Router = axum::Router::new().route("/", axum::routing::get(unread));
    /// ```
    ///
    /// [`RequestSession::untouched`]: secure_sessions::RequestSession::untouched
    Untouched;
    /// An urlencoded form with a CSRF token of its session in the field `csrf_token`, which
    /// [`csrf_field`](crate::Session::csrf_field) writes. A form without one is answered with 403, before it is read as
    /// a `T`. Dereferences to the form.
    ///
    /// ```
    /// use axum::response::Html;
    /// use axum::{Router, routing::get};
    /// use secure_sessions_axum::{CsrfForm, Session, SessionError};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Payment {
    ///     amount: u64,
    /// }
    ///
    /// async fn form(session: Session) -> Result<Html<String>, SessionError> {
    ///     let csrf = session.csrf_field()?;
    ///     Ok(Html(format!("<form method='post'>{csrf}<input name='amount'><button>Pay</button></form>")))
    /// }
    ///
    /// async fn pay(CsrfForm { session, form }: CsrfForm<Payment>) -> Result<String, SessionError> {
    ///     session.remove("cart")?;
    ///     Ok(format!("paid {}", form.amount))
    /// }
    ///
    /// let app: Router = Router::new().route("/pay", get(form).post(pay));
    /// ```
    CsrfForm;
    /// The session as a `T`, in which a field of another type counts as absent instead of being an error: see
    /// [`Typed::or_default`](secure_sessions::Typed::or_default), which lists what to write if the shape of your data
    /// changes. Dereferences to [`Typed`](crate::Typed).
    ///
    /// ```
    /// use secure_sessions_axum::{SessionError, TypedOrDefault};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Shop {
    ///     cart: Vec<String>, // Of numbers, in the release before.
    /// }
    ///
    /// async fn add(mut shop: TypedOrDefault<Shop>) -> Result<String, SessionError> {
    ///     shop.update(|shop| shop.cart.push("book".to_owned()))?;
    ///     Ok(format!("{} in the cart", shop.cart.len()))
    /// }
    /// # let app: axum::Router = axum::Router::new().route("/", axum::routing::post(add));
    /// ```
    TypedOrDefault;
}

/// Returns the refusal of a request that nobody is logged in for.
fn refusal(parts: &Parts, session: &Session) -> SessionError {
    // A nested router sees the path without its prefix.
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(uri)| uri);
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let head = Head { method: &parts.method, uri: &parts.uri, headers: &parts.headers, extensions: &parts.extensions };
    session.not_logged_in(&head, target).into()
}

impl<S: Send + Sync> FromRequestParts<S> for LoggedIn {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        let session = parts.session().await?;
        Self::of(session.clone()).ok_or_else(|| refusal(parts, &session))
    }
}

impl<S: Send + Sync, U: User> FromRequestParts<S> for LoggedIn<U>
where
    U::State: FromRef<S>,
{
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionError> {
        let session = parts.session().await?;
        let user = Self::load(session.clone(), &U::State::from_ref(state)).await?;
        user.ok_or_else(|| refusal(parts, &session))
    }
}

impl<S: Send + Sync, U> OptionalFromRequestParts<S> for LoggedIn<U>
where
    Self: FromRequestParts<S, Rejection = SessionError>,
{
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, SessionError> {
        Ok(MaybeLoggedIn::of(<Self as FromRequestParts<S>>::from_request_parts(parts, state).await)?.0)
    }
}

impl<S: Send + Sync, U> FromRequestParts<S> for MaybeLoggedIn<U>
where
    LoggedIn<U>: FromRequestParts<S, Rejection = SessionError>,
{
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionError> {
        Self::of(<LoggedIn<U> as FromRequestParts<S>>::from_request_parts(parts, state).await)
    }
}

impl<S: Send + Sync, P: Permission<U>, U> FromRequestParts<S> for Allowed<P, U>
where
    LoggedIn<U>: FromRequestParts<S, Rejection = SessionError>,
{
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionError> {
        Self::check(<LoggedIn<U> as FromRequestParts<S>>::from_request_parts(parts, state).await?)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Untouched {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        SessionExt::untouched(parts);
        Ok(Self(parts.session().await?))
    }
}

impl<S: Send + Sync, T: SessionData> FromRequestParts<S> for TypedOrDefault<T> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        Self::new(&parts.session().await?)
    }
}

/// The reason why a [`CsrfForm`] was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum CsrfFormRejection {
    /// The session failed, or the form has no CSRF token of it.
    Session(SessionError),
    /// The body could not be read, or is too large.
    Body(BytesRejection),
    /// The form is not urlencoded, or not one of the type.
    Form(FormRejection),
}

impl IntoResponse for CsrfFormRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::Body(rejection) => rejection.into_response(),
            Self::Form(rejection) => rejection.into_response(),
        }
    }
}

impl std::fmt::Display for CsrfFormRejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Body(rejection) => rejection.fmt(f),
            Self::Form(rejection) => rejection.fmt(f),
        }
    }
}

impl std::error::Error for CsrfFormRejection {}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for CsrfForm<T> {
    type Rejection = CsrfFormRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, CsrfFormRejection> {
        let session = request.session().await.map_err(CsrfFormRejection::Session)?;
        let (mut parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let body = axum::body::Bytes::from_request(request, state).await.map_err(CsrfFormRejection::Body)?;
        let rest = session.verify_csrf_form(&body).map_err(|error| CsrfFormRejection::Session(error.into()))?;
        parts.headers.remove(CONTENT_LENGTH); // The body is shorter now.
        let Form(form) = Form::from_request(Request::from_parts(parts, Body::from(rest)), state)
            .await
            .map_err(CsrfFormRejection::Form)?;
        Ok(Self { session, form })
    }
}
