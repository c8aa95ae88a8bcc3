//! The extractors that decide who may do something, and what a request may do to its session.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{Error, FromRequest, HttpRequest, web};
use secure_sessions::{Permission, SessionData, User};
use serde::de::DeserializeOwned;

use crate::headers::Head;
use crate::{EngineError, Session, SessionError, SessionExt, Typed};

secure_sessions::adapter_access! {
    /// The user who is logged in. Without a type it is the [`Subject`] of the session; `LoggedIn<U>` loads your own `U`
    /// by its [`User`] trait, from the `web::Data<U::State>` of the application. Dereferences to the user.
    ///
    /// 1. If nobody is logged in, the request is answered with 401, or, if the builder has a
    ///    [`login_url`](crate::Builder::login_url) and a browser navigates, with a redirect to the login page.
    /// 2. If the user is gone ([`User::load`] returns `None`), the session is logged out, and the request answered
    ///    likewise.
    /// 3. For a page that works for everybody, take [`MaybeLoggedIn`]. In Actix Web `Option<LoggedIn<U>>` is `None` for
    ///    every error, also if the store fails.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::convert::Infallible;
    /// use actix_web::{App, HttpResponse, http::header::LOCATION, web};
    /// use secure_sessions_actix::{LoggedIn, Session, SessionError, User, local_path};
    ///
    /// #[derive(Clone)]
    /// struct Account {
    ///     name: String,
    /// }
    ///
    /// /// A database, in real life.
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
    /// async fn hello(account: LoggedIn<Account>) -> String {
    ///     format!("Hello, {}!", account.name)
    /// }
    ///
    /// async fn orders(user: LoggedIn) -> Result<String, SessionError> {
    ///     let id: u64 = user.subject_as()?;
    ///     Ok(format!("the orders of user {id}"))
    /// }
    ///
    /// /// Behind a form that asks for a password.
    /// async fn log_in(
    ///     session: Session,
    ///     query: web::Query<HashMap<String, String>>,
    /// ) -> Result<HttpResponse, SessionError> {
    ///     session.login("4711")?;
    ///     let next = query.get("next").and_then(|next| local_path(next)).unwrap_or("/");
    ///     Ok(HttpResponse::SeeOther().insert_header((LOCATION, next)).finish())
    /// }
    ///
    /// let accounts = web::Data::new(Accounts(HashMap::new()));
    /// let app = App::new()
    ///     .app_data(accounts)
    ///     .route("/hello", web::get().to(hello))
    ///     .route("/orders", web::get().to(orders))
    ///     .route("/login", web::get().to(log_in));
    /// ```
    LoggedIn;
    /// The user who is logged in, if anybody is. If the store fails, or the user cannot be loaded, it is an error all
    /// the same: nobody must take a failure for a logout.
    ///
    /// ```
    /// use secure_sessions_actix::MaybeLoggedIn;
    ///
    /// async fn front_page(user: MaybeLoggedIn) -> &'static str {
    ///     if user.is_some() { "Welcome back!" } else { "Welcome!" }
    /// }
    /// # let app = actix_web::App::new().route("/", actix_web::web::get().to(front_page));
    /// ```
    MaybeLoggedIn;
    /// The user who is logged in and has the permission `P`. Any other user is answered with 403; a request that nobody
    /// is logged in for as by [`LoggedIn`]. Dereferences to the [`LoggedIn`] user.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// use secure_sessions_actix::{Allowed, Permission, User};
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
    /// # let app = actix_web::App::new().route("/", actix_web::web::delete().to(delete_everything));
    /// ```
    Allowed;
    /// A session that this request reads without keeping it alive: for a page that polls in the background, which would
    /// otherwise keep the session of a user who has left. See [`RequestSession::untouched`].
    ///
    /// Put it in front of all other extractors of the session. If a middleware looks at the session first, mark the
    /// request before that, by [`SessionExt::untouched`]. An [`eager`](crate::SessionMiddleware::eager) middleware has
    /// always looked already.
    ///
    /// ```
    /// use secure_sessions_actix::{SessionError, Untouched};
    ///
    /// async fn unread(session: Untouched) -> Result<String, SessionError> {
    ///     Ok(session.get::<u64>("unread")?.unwrap_or_default().to_string())
    /// }
    /// # let app = actix_web::App::new().route("/", actix_web::web::get().to(unread));
    /// ```
    ///
    /// [`RequestSession::untouched`]: secure_sessions::RequestSession::untouched
    Untouched;
    /// An urlencoded form with a CSRF token of its session in the field `csrf_token`, which
    /// [`csrf_field`](crate::Session::csrf_field) writes. A form without one is answered with 403, before it is read as
    /// a `T`. Dereferences to the form.
    ///
    /// ```
    /// use actix_web::{App, web};
    /// use secure_sessions_actix::{CsrfForm, Session, SessionError};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Payment {
    ///     amount: u64,
    /// }
    ///
    /// async fn form(session: Session) -> Result<web::Html, SessionError> {
    ///     let csrf = session.csrf_field()?;
    ///     Ok(web::Html::new(format!("<form method='post'>{csrf}<input name='amount'><button>Pay</button></form>")))
    /// }
    ///
    /// async fn pay(payment: CsrfForm<Payment>) -> Result<String, SessionError> {
    ///     payment.session.remove("cart")?;
    ///     Ok(format!("paid {}", payment.amount))
    /// }
    ///
    /// let app = App::new().route("/pay", web::get().to(form)).route("/pay", web::post().to(pay));
    /// ```
    CsrfForm;
    /// The session as a `T`, in which a field of another type counts as absent instead of being an error: see
    /// [`Typed::or_default`](secure_sessions::Typed::or_default), which lists what to write if the shape of your data
    /// changes. Dereferences to [`Typed`](crate::Typed).
    ///
    /// ```
    /// use secure_sessions_actix::{SessionError, TypedOrDefault};
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
    /// # let app = actix_web::App::new().route("/", actix_web::web::post().to(add));
    /// ```
    TypedOrDefault;
}

type Extracting<T, E = SessionError> = Pin<Box<dyn Future<Output = Result<T, E>>>>;

/// Returns the refusal of a request that nobody is logged in for.
fn refusal(request: &HttpRequest, session: &Session) -> SessionError {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    session.not_logged_in(&Head(request.head()), target).into()
}

impl FromRequest for LoggedIn {
    type Error = SessionError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let session = request.session().await?;
            Self::of(session.clone()).ok_or_else(|| refusal(&request, &session))
        })
    }
}

impl<U: User> FromRequest for LoggedIn<U> {
    type Error = SessionError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let session = request.session().await?;
            let state = request.app_data::<web::Data<U::State>>().ok_or(EngineError::NoState {
                state: std::any::type_name::<U::State>(),
                hint: "add `.app_data(web::Data::new(state))` to the app",
            })?;
            let user = Self::load(session.clone(), state).await?;
            user.ok_or_else(|| refusal(&request, &session))
        })
    }
}

impl<U: 'static> FromRequest for MaybeLoggedIn<U>
where
    LoggedIn<U>: FromRequest<Error = SessionError>,
{
    type Error = SessionError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let extracting = LoggedIn::from_request(request, payload);
        Box::pin(async move { Self::of(extracting.await) })
    }
}

impl<P: Permission<U>, U: 'static> FromRequest for Allowed<P, U>
where
    LoggedIn<U>: FromRequest<Error = SessionError>,
{
    type Error = SessionError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let extracting = LoggedIn::from_request(request, payload);
        Box::pin(async move { Self::check(extracting.await?) })
    }
}

impl FromRequest for Untouched {
    type Error = SessionError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        request.untouched();
        let session = request.session();
        Box::pin(async move { Ok(Self(session.await?)) })
    }
}

impl<T: SessionData> FromRequest for TypedOrDefault<T> {
    type Error = SessionError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = request.session();
        Box::pin(async move { Self::new(&session.await?) })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for CsrfForm<T> {
    /// A [`SessionError`], or the error of `web::Bytes` or `web::Form`, whose configuration applies.
    type Error = Error;
    type Future = Extracting<Self, Error>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let session = request.session().await?;
            let body = web::Bytes::from_request(&request, &mut payload).await?;
            let rest = session.verify_csrf_form(&body).map_err(SessionError::from)?;
            let mut rest = Payload::from(web::Bytes::from(rest));
            let form = web::Form::<T>::from_request(&request, &mut rest).await?.into_inner();
            Ok(Self { session, form })
        })
    }
}
