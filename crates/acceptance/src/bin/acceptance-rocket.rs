//! The acceptance program on Rocket: routes, and nothing else.

use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use acceptance::{Account, Admin, Answer, App, Cart, Control, Query, Request, Verb, Work, control, routes, work};
use futures_util::{Stream, stream};
use rocket::fairing::{AdHoc, Fairing};
use rocket::http::{ContentType, Method, Status};
use rocket::request::{FromRequest, Outcome as Guarded};
use rocket::response::stream::TextStream;
use rocket::response::{self, Responder};
use rocket::route::{Handler, Outcome, Route};
use rocket::{
    Build, Config, Data, FromForm, Request as HttpRequest, Response, Rocket, State, catch, catchers, get, post, routes,
};
use secure_sessions_rocket::{
    Allowed, CrossOrigin, CrossOriginFairing, CsrfForm, CsrfSession, LoggedIn, MaybeLoggedIn, SameOrigin, Session,
    SessionError, SessionExt, SessionFairing, Typed, TypedOrDefault, Untouched,
};
use serde_json::json;

fn main() -> std::process::ExitCode {
    acceptance::run_unbound(|app, port| async move {
        // Everything that an Error says is in its text; dropping one unread would panic.
        rocket(app, port).launch().await.map(|_| ()).map_err(|error| error.to_string())
    })
}

fn rocket(app: App, port: u16) -> Rocket<Build> {
    let config = Config {
        address: Ipv4Addr::LOCALHOST.into(),
        port,
        log_level: rocket::config::LogLevel::Off,
        ..Config::release_default()
    };
    // Nothing here is in a private cookie. But where another package of the build turns them on, Rocket asks for a key.
    let figment = rocket::figment::Figment::from(config).merge(("secret_key", "5c".repeat(32)));
    let mut rocket = rocket::custom(figment)
        .mount("/", routes![index, live])
        .mount("/", with_session(&app, routes::ROUTES))
        .mount("/", without_session(&app, control::ROUTES))
        .register("/", catchers![shown]);
    if app.extra {
        rocket = extra_routes(&app, rocket);
    }
    if app.faults {
        rocket = rocket.mount("/", without_session(&app, control::FAULT_ROUTES));
    }
    let mut sessions = SessionFairing::new(app.manager.clone());
    if app.on_error {
        sessions = sessions.on_error(|error, _| Shown(work::own_response(error)));
    }
    rocket = match &app.cross_origin {
        Some(check) => rocket.attach(CrossOriginFairing::new(check.clone())),
        None => rocket.manage(CrossOrigin::default()),
    };
    rocket.attach(after_the_handler()).attach(sessions).attach(announcement()).manage(app)
}

fn extra_routes(app: &App, rocket: Rocket<Build>) -> Rocket<Build> {
    rocket
        .mount("/", with_session(app, routes::EXTRA_ROUTES))
        .mount("/", without_session(app, control::EXTRA_ROUTES))
        // A fairing is never within another one.
        .mount("/", with_session(app, &[(Verb::Post, "/extra/nested", Work::Set)]))
        .mount("/", routes![two, typed, late, rejected, recent, guarded, csrf, same_origin])
        .mount("/", routes![form, lenient, untouched, me, subject, maybe, admin])
}

fn announcement() -> impl Fairing {
    AdHoc::on_liftoff("announcement", |rocket| {
        Box::pin(async move {
            let config = rocket.config();
            if acceptance::announce(SocketAddr::new(config.address, config.port)).is_err() {
                rocket.shutdown().notify();
            }
        })
    })
}

fn with_session(app: &App, table: &[(Verb, &str, Work)]) -> Vec<Route> {
    let handler = |work: &Work| WithSession { app: app.clone(), work: *work };
    table.iter().map(|(verb, path, work)| Route::new(method(*verb), path, handler(work))).collect()
}

fn without_session(app: &App, table: &[(Verb, &str, Control)]) -> Vec<Route> {
    let handler = |control: &Control| WithoutSession { app: app.clone(), control: *control };
    table.iter().map(|(verb, path, control)| Route::new(method(*verb), path, handler(control))).collect()
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Get => Method::Get,
        Verb::Post => Method::Post,
    }
}

#[derive(Clone)]
struct WithSession {
    app: App,
    work: Work,
}

#[rocket::async_trait]
impl Handler for WithSession {
    async fn handle<'r>(&self, http: &'r HttpRequest<'_>, data: Data<'r>) -> Outcome<'r> {
        let session = match http.guard::<Session>().await {
            Guarded::Success(session) => session,
            Guarded::Error((status, _)) => return Outcome::Error(status),
            Guarded::Forward(status) => return Outcome::Forward((data, status)),
        };
        let csrf_token = http.headers().get_one("x-csrf-token").map(str::to_owned);
        let request = Request { query: query(http), csrf_token };
        Outcome::Success(response(self.work.run(&self.app, &session, &request).await))
    }
}

#[derive(Clone)]
struct WithoutSession {
    app: App,
    control: Control,
}

#[rocket::async_trait]
impl Handler for WithoutSession {
    async fn handle<'r>(&self, http: &'r HttpRequest<'_>, _: Data<'r>) -> Outcome<'r> {
        Outcome::Success(response(self.control.run(&self.app, &query(http)).await))
    }
}

fn query(http: &HttpRequest<'_>) -> Query {
    Query::parse(http.uri().query().map(|query| query.as_str()))
}

fn response<'r>(answer: Answer) -> Response<'r> {
    let body = answer.text();
    let mut response = Response::build()
        .status(Status::new(answer.status))
        .header(ContentType::JSON)
        .sized_body(body.len(), Cursor::new(body))
        .finalize();
    for (name, value) in answer.headers {
        response.adjoin_raw_header(name, value);
    }
    response
}

/// An answer of a route that the library does not know.
struct Shown(Answer);

impl<'r> Responder<'r, 'static> for Shown {
    fn respond_to(self, _: &'r HttpRequest<'_>) -> response::Result<'static> {
        Ok(response(self.0))
    }
}

/// Answers a request that a guard refuses, or that no route knows.
#[catch(default)]
fn shown(status: Status, _: &HttpRequest<'_>) -> Shown {
    Shown(Answer::error(status.code, status.reason_lossy()))
}

struct Parameters(Query);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Parameters {
    type Error = std::convert::Infallible;

    async fn from_request(http: &'r HttpRequest<'_>) -> Guarded<Self, Self::Error> {
        Guarded::Success(Self(query(http)))
    }
}

#[get("/")]
async fn index(app: &State<App>, query: Parameters) -> &'static str {
    app.loaded(&query.0).await;
    app.before_reply(&query.0).await;
    "ok"
}

#[get("/live")]
fn live(session: Session) -> TextStream<impl Stream<Item = &'static str>> {
    TextStream(work::watched(session))
}

/// Two guards in one route share one state.
#[post("/extra/two")]
fn two(first: Session, second: Session, query: Parameters) -> Result<Shown, SessionError> {
    first.insert(query.0.text("k"), query.0.text("v"))?;
    let seen = second.get::<String>(query.0.text("k"))?;
    Ok(Shown(Answer::ok(json!({ "second": seen }))))
}

#[post("/extra/typed")]
fn typed(mut cart: Typed<Cart>, query: Parameters) -> Result<Shown, SessionError> {
    let item = query.0.text("item").to_owned();
    cart.update(move |cart| cart.items.push(item.clone()))?;
    Ok(Shown(Answer::ok(json!({ "items": cart.items }))))
}

/// A body that is made when the response's headers are gone.
#[get("/extra/late")]
fn late(session: Session) -> (ContentType, TextStream<impl Stream<Item = String>>) {
    let body = stream::once(async move { work::late(&session).await.to_string() });
    (ContentType::JSON, TextStream(body))
}

/// The adapter's own error, as a handler returns it with `?`.
#[post("/extra/rejected")]
fn rejected(session: Session) -> Result<Shown, SessionError> {
    session.insert("big", "x".repeat(5000))?;
    Ok(Shown(Answer::ok(json!({}))))
}

/// Answers only users who authenticated within the last minute.
#[get("/extra/recent")]
fn recent(session: Session) -> Result<Shown, SessionError> {
    session.require_recent_auth(Duration::from_secs(60))?;
    Ok(Shown(Answer::ok(json!({ "recent": true }))))
}

/// The guard that asks for a CSRF token in the header.
#[post("/extra/csrf")]
fn csrf(session: CsrfSession) -> Result<Shown, SessionError> {
    session.insert("csrf", "verified")?;
    Ok(Shown(Answer::ok(json!({}))))
}

/// The guard that asks where a request comes from.
#[post("/extra/same-origin")]
fn same_origin(_proof: SameOrigin) -> &'static str {
    "ok"
}

/// A guard of the application's own: lets only logged-in users pass, and leaves a note.
struct User;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for User {
    type Error = SessionError;

    async fn from_request(http: &'r HttpRequest<'_>) -> Guarded<Self, SessionError> {
        let admitted = http.session().await.and_then(|session| {
            let logged_in = session.subject().is_some();
            if logged_in {
                session.insert("guard", "passed")?;
            }
            Ok(logged_in)
        });
        match admitted {
            Ok(true) => Guarded::Success(Self),
            Ok(false) => Guarded::Forward(Status::Forbidden),
            Err(error) => Guarded::Error((Status::new(error.status()), error)),
        }
    }
}

#[post("/extra/guarded")]
fn guarded(_user: User, session: Session) -> Result<Shown, SessionError> {
    Ok(Shown(Answer::ok(json!({ "guard": session.get::<String>("guard")? }))))
}

/// A fairing that is attached before the session's: what it changes after the handler is kept.
fn after_the_handler() -> impl Fairing {
    AdHoc::on_response("after the handler", |http, response| {
        Box::pin(async move {
            if http.uri().path() != "/extra/guarded" || response.status() != Status::Ok {
                return;
            }
            if let Ok(session) = http.session().await
                && session.insert("after", "handler").is_err()
            {
                response.set_status(Status::InternalServerError);
            }
        })
    })
}

/// The fields of a form besides its token.
#[derive(FromForm)]
struct Payment<'r> {
    amount: u64,
    #[field(default = "")]
    note: &'r str,
}

#[post("/extra/form", data = "<payment>")]
fn form(payment: CsrfForm<Payment<'_>>) -> Result<Shown, SessionError> {
    payment.session.insert("paid", payment.amount)?;
    Ok(Shown(Answer::ok(json!({ "amount": payment.amount, "note": payment.note }))))
}

#[post("/extra/lenient")]
fn lenient(mut cart: TypedOrDefault<Cart>, query: Parameters) -> Result<Shown, SessionError> {
    let item = query.0.text("item").to_owned();
    cart.update(move |cart| cart.items.push(item.clone()))?;
    Ok(Shown(Answer::ok(json!({ "items": cart.items }))))
}

#[get("/extra/untouched")]
fn untouched(session: Untouched) -> Result<Shown, SessionError> {
    Ok(Shown(Answer::ok(acceptance::views::state(&session)?)))
}

#[get("/extra/me")]
fn me(account: LoggedIn<Account>) -> Shown {
    Shown(Answer::ok(json!({ "name": account.name })))
}

#[get("/extra/subject")]
fn subject(user: LoggedIn) -> Shown {
    Shown(Answer::ok(json!({ "name": user.as_str() })))
}

#[get("/extra/maybe")]
fn maybe(user: MaybeLoggedIn<Account>) -> Shown {
    Shown(Answer::ok(json!({ "name": user.0.map(|user| user.into_user().name) })))
}

#[get("/extra/admin")]
fn admin(account: Allowed<Admin, Account>) -> Shown {
    Shown(Answer::ok(json!({ "name": account.name })))
}
