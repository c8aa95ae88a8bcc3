//! The guards that decide who may do something, and what a request may do to its session.

use rocket::data::{self, Data, FromData, ToByteUnit};
use rocket::form::{Errors, Form, FromForm, ValueField};
use rocket::http::{RawStr, Status};
use rocket::outcome::try_outcome;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};
use secure_sessions::{Permission, SessionData, User};

use crate::fairing::log_in_at;
use crate::guard::outcome;
use crate::headers::Head;
use crate::{EngineError, Session, SessionError, SessionExt, Typed};

secure_sessions::adapter_access! {
    /// The user who is logged in. Without a type it is the [`Subject`] of the session; `LoggedIn<U>` loads your own `U`
    /// by its [`User`] trait, from Rocket's managed state. Dereferences to the user.
    ///
    /// 1. If nobody is logged in, the guard fails with 401. If the builder has a
    ///    [`login_url`](crate::Builder::login_url) and a browser navigates, the fairing then replaces the catcher's
    ///    response by a redirect to the login page.
    /// 2. If the user is gone ([`User::load`] returns `None`), the session is logged out, and the guard fails likewise.
    /// 3. For a page that works for everybody, take [`MaybeLoggedIn`]. In Rocket `Option<LoggedIn<U>>` is `None` for
    ///    every error, also if the store fails.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::convert::Infallible;
    /// use rocket::{get, response::Redirect, routes};
    /// use secure_sessions_rocket::{LoggedIn, Session, SessionError, User, local_path};
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
    /// #[get("/hello")]
    /// fn hello(account: LoggedIn<Account>) -> String {
    ///     format!("Hello, {}!", account.name)
    /// }
    ///
    /// #[get("/orders")]
    /// fn orders(user: LoggedIn) -> Result<String, SessionError> {
    ///     let id: u64 = user.subject_as()?;
    ///     Ok(format!("the orders of user {id}"))
    /// }
    ///
    /// /// Behind a form that asks for a password.
    /// #[get("/login?<next>")]
    /// fn log_in(session: Session, next: Option<&str>) -> Result<Redirect, SessionError> {
    ///     session.login("4711")?;
    ///     Ok(Redirect::to(next.and_then(local_path).unwrap_or("/").to_owned()))
    /// }
    ///
    /// let rocket = rocket::build().mount("/", routes![hello, orders, log_in]).manage(Accounts(HashMap::new()));
    /// ```
    LoggedIn;
    /// The user who is logged in, if anybody is. If the store fails, or the user cannot be loaded, the guard fails all
    /// the same: nobody must take a failure for a logout.
    ///
    /// ```
    /// use rocket::{get, routes};
    /// use secure_sessions_rocket::MaybeLoggedIn;
    ///
    /// #[get("/")]
    /// fn front_page(user: MaybeLoggedIn) -> &'static str {
    ///     if user.is_some() { "Welcome back!" } else { "Welcome!" }
    /// }
    ///
    /// let rocket = rocket::build().mount("/", routes![front_page]);
    /// ```
    MaybeLoggedIn;
    /// The user who is logged in and has the permission `P`. The guard fails with 403 for any other user, and as
    /// [`LoggedIn`] does if nobody is logged in. Dereferences to the [`LoggedIn`] user.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// use rocket::{delete, routes};
    /// use secure_sessions_rocket::{Allowed, Permission, User};
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
    /// #[delete("/everything")]
    /// fn delete_everything(admin: Allowed<Admin, Account>) -> String {
    ///     format!("{} is allowed to", admin.name)
    /// }
    ///
    /// let rocket = rocket::build().mount("/", routes![delete_everything]);
    /// ```
    Allowed;
    /// A session that this request reads without keeping it alive: for a page that polls in the background, which would
    /// otherwise keep the session of a user who has left. See [`RequestSession::untouched`].
    ///
    /// Put it in front of all other guards that look at the session. If a fairing looks first, mark the request before
    /// that, by [`SessionExt::untouched`].
    ///
    /// ```
    /// use rocket::{get, routes};
    /// use secure_sessions_rocket::{SessionError, Untouched};
    ///
    /// #[get("/unread")]
    /// fn unread(session: Untouched) -> Result<String, SessionError> {
    ///     Ok(session.get::<u64>("unread").map_err(SessionError::from)?.unwrap_or_default().to_string())
    /// }
    ///
    /// let rocket = rocket::build().mount("/", routes![unread]);
    /// ```
    ///
    /// [`RequestSession::untouched`]: secure_sessions::RequestSession::untouched
    Untouched;
    /// An urlencoded form with a CSRF token of its session in the field `csrf_token`, which
    /// [`csrf_field`](crate::Session::csrf_field) writes. The guard fails with 403 for a form without one, before it is
    /// read as a `T`. Rocket's limit `form` applies. Dereferences to the form.
    ///
    /// ```
    /// use rocket::response::content::RawHtml;
    /// use rocket::{FromForm, get, post, routes};
    /// use secure_sessions_rocket::{CsrfForm, Session, SessionError};
    ///
    /// #[derive(FromForm)]
    /// struct Payment {
    ///     amount: u64,
    /// }
    ///
    /// #[get("/pay")]
    /// fn form(session: Session) -> Result<RawHtml<String>, SessionError> {
    ///     let csrf = session.csrf_field()?;
    ///     Ok(RawHtml(format!("<form method='post'>{csrf}<input name='amount'><button>Pay</button></form>")))
    /// }
    ///
    /// #[post("/pay", data = "<payment>")]
    /// fn pay(payment: CsrfForm<Payment>) -> Result<String, SessionError> {
    ///     payment.session.remove("cart")?;
    ///     Ok(format!("paid {}", payment.amount))
    /// }
    ///
    /// let rocket = rocket::build().mount("/", routes![form, pay]);
    /// ```
    CsrfForm;
    /// The session as a `T`, in which a field of another type counts as absent instead of being an error: see
    /// [`Typed::or_default`](secure_sessions::Typed::or_default), which lists what to write if the shape of your data
    /// changes. Dereferences to [`Typed`](crate::Typed).
    ///
    /// ```
    /// use rocket::{post, routes};
    /// use secure_sessions_rocket::{SessionError, TypedOrDefault};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Shop {
    ///     cart: Vec<String>, // Of numbers, in the release before.
    /// }
    ///
    /// #[post("/cart")]
    /// fn add(mut shop: TypedOrDefault<Shop>) -> Result<String, SessionError> {
    ///     shop.update(|shop| shop.cart.push("book".to_owned()))?;
    ///     Ok(format!("{} in the cart", shop.cart.len()))
    /// }
    ///
    /// let rocket = rocket::build().mount("/", routes![add]);
    /// ```
    TypedOrDefault;
}

/// Returns the refusal of a request that nobody is logged in for.
fn refusal(request: &Request<'_>, session: &Session) -> SessionError {
    session.not_logged_in(&Head(request), &request.uri().to_string()).into()
}

/// Returns the guard's outcome. A redirect fails as 401 does: only the fairing can answer with it.
fn guarded<T>(request: &Request<'_>, result: Result<T, SessionError>) -> Outcome<T, SessionError> {
    match result {
        Err(error) if error.location().is_some() => {
            log_in_at(request, error.location());
            Outcome::Error((Status::Unauthorized, error))
        }
        result => outcome(result),
    }
}

async fn subject(request: &Request<'_>) -> Result<LoggedIn, SessionError> {
    let session = request.session().await?;
    LoggedIn::of(session.clone()).ok_or_else(|| refusal(request, &session))
}

async fn user<U: User>(request: &Request<'_>) -> Result<LoggedIn<U>, SessionError> {
    let session = request.session().await?;
    let state = request.rocket().state::<U::State>().ok_or(EngineError::NoState {
        state: std::any::type_name::<U::State>(),
        hint: "add `.manage(state)` to the rocket",
    })?;
    let user = LoggedIn::load(session.clone(), state).await?;
    user.ok_or_else(|| refusal(request, &session))
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for LoggedIn {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        guarded(request, subject(request).await)
    }
}

#[rocket::async_trait]
impl<'r, U: User> FromRequest<'r> for LoggedIn<U> {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        guarded(request, user(request).await)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for MaybeLoggedIn {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        outcome(Self::of(subject(request).await))
    }
}

#[rocket::async_trait]
impl<'r, U: User> FromRequest<'r> for MaybeLoggedIn<U> {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        outcome(Self::of(user(request).await))
    }
}

#[rocket::async_trait]
impl<'r, P: Permission<U>, U> FromRequest<'r> for Allowed<P, U>
where
    LoggedIn<U>: FromRequest<'r, Error = SessionError>,
{
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        let user = try_outcome!(LoggedIn::from_request(request).await);
        outcome(Self::check(user))
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Untouched {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        request.untouched();
        outcome(request.session().await.map(Self))
    }
}

#[rocket::async_trait]
impl<'r, T: SessionData> FromRequest<'r> for TypedOrDefault<T> {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        outcome(request.session().await.and_then(|session| Self::new(&session)))
    }
}

/// The reason why a [`CsrfForm`] was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum CsrfFormError<'r> {
    /// The session failed, or the form has no CSRF token of it.
    Session(SessionError),
    /// The body could not be read.
    Body(std::io::Error),
    /// The body is larger than the limit `form`.
    TooLarge,
    /// The body is not urlencoded.
    NotUrlencoded,
    /// The form is not one of the type.
    Form(Errors<'r>),
}

impl CsrfFormError<'_> {
    fn status(&self) -> Status {
        match self {
            Self::Session(error) => Status::new(error.status()),
            Self::Body(_) => Status::BadRequest,
            Self::TooLarge => Status::PayloadTooLarge,
            Self::NotUrlencoded => Status::UnsupportedMediaType,
            Self::Form(errors) => errors.status(),
        }
    }
}

/// The fields of a form, decoded, in the request's local cache: the form may borrow from them.
struct Fields(Vec<(String, String)>);

#[rocket::async_trait]
impl<'r, T: FromForm<'r>> FromData<'r> for CsrfForm<T> {
    type Error = CsrfFormError<'r>;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        match read(request, data).await {
            Ok(form) => data::Outcome::Success(form),
            Err(error) => data::Outcome::Error((error.status(), error)),
        }
    }
}

async fn read<'r, T: FromForm<'r>>(request: &'r Request<'_>, data: Data<'r>) -> Result<CsrfForm<T>, CsrfFormError<'r>> {
    let session = request.session().await.map_err(CsrfFormError::Session)?;
    let limit = request.limits().get("form").unwrap_or_else(|| 32.kibibytes());
    let body = data.open(limit).into_bytes().await.map_err(CsrfFormError::Body)?;
    if !body.is_complete() {
        return Err(CsrfFormError::TooLarge);
    }
    let rest = session.verify_csrf_form(&body).map_err(|error| CsrfFormError::Session(error.into()))?;
    if !request.content_type().is_some_and(|kind| kind.is_form()) {
        return Err(CsrfFormError::NotUrlencoded);
    }
    let decode = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        RawStr::new(text.as_ref()).url_decode_lossy().into_owned()
    };
    let pairs = rest.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (decode(&pair[..end]), decode(pair.get(end + 1..).unwrap_or_default()))
    });
    let Fields(fields) = request.local_cache(|| Fields(pairs.collect()));
    let fields = fields.iter().map(|(name, value)| ValueField::from((name.as_str(), value.as_str())));
    let form = Form::<T>::parse_iter(fields).map_err(CsrfFormError::Form)?;
    Ok(CsrfForm { session, form })
}

/// Refuses the launch of a rocket without the fairing.
impl Sentinel for LoggedIn {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Session::abort(rocket)
    }
}

/// Refuses the launch of a rocket without the fairing, or without the state that users are loaded from.
impl<U: User> Sentinel for LoggedIn<U> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        let missing = rocket.state::<U::State>().is_none();
        if missing {
            let state = std::any::type_name::<U::State>();
            let hint = "add `.manage(state)` to the rocket";
            tracing::error!(target: "secure_sessions", "{}", EngineError::NoState { state, hint });
        }
        missing || Session::abort(rocket)
    }
}

impl<U> Sentinel for MaybeLoggedIn<U>
where
    LoggedIn<U>: Sentinel,
{
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        LoggedIn::<U>::abort(rocket)
    }
}

impl<P, U> Sentinel for Allowed<P, U>
where
    LoggedIn<U>: Sentinel,
{
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        LoggedIn::<U>::abort(rocket)
    }
}

impl Sentinel for Untouched {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Session::abort(rocket)
    }
}

impl<T> Sentinel for CsrfForm<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Session::abort(rocket)
    }
}

impl<T> Sentinel for TypedOrDefault<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Session::abort(rocket)
    }
}
