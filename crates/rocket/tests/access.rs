//! Guards of access where Rocket has ways of its own; the acceptance suite runs the rest over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::convert::Infallible;

use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use rocket::http::{Accept, ContentType, Header, Status};
use rocket::local::asynchronous::Client;
use rocket::{Build, FromForm, Rocket, catch, catchers, get, post, routes};
use secure_sessions_rocket::{
    CsrfForm, Keyring, LoggedIn, MemoryStore, Session, SessionError, SessionExt, SessionFairing, SessionManager, User,
    testing,
};

fn rocket() -> Rocket<Build> {
    rocket::custom(rocket::Config { log_level: rocket::config::LogLevel::Off, ..rocket::Config::debug_default() })
}

struct Account;

impl User for Account {
    type State = String;
    type Error = Infallible;

    async fn load(subject: &str, only: &String) -> Result<Option<Self>, Infallible> {
        Ok((subject == only).then_some(Self))
    }
}

#[get("/hello")]
fn hello(_account: LoggedIn<Account>) -> &'static str {
    "hello"
}

#[get("/subject")]
fn subject(user: LoggedIn) -> String {
    user.subject().to_owned()
}

/// A route that answers by itself.
#[get("/either")]
fn either(user: Result<LoggedIn, SessionError>) -> &'static str {
    if user.is_ok() { "in" } else { "out" }
}

#[rocket::async_test]
async fn a_rocket_without_the_state_of_its_users_does_not_launch() {
    let (manager, _) = testing::manager();
    let rocket = rocket().mount("/", routes![hello]).attach(SessionFairing::new(manager.clone()));
    let error = Client::untracked(rocket).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::SentinelAborts(_)), "{error}");
    let client = Client::untracked(
        self::rocket()
            .mount("/", routes![hello])
            .attach(SessionFairing::new(manager.clone()))
            .manage("alice".to_owned()),
    );
    let client = client.await.unwrap();
    for (subject, status) in [("alice", Status::Ok), ("bob", Status::Unauthorized)] {
        let cookie = testing::session(&manager).login(subject).cookie().await.unwrap();
        let response = client.get("/hello").header(Header::new("cookie", cookie)).dispatch().await;
        assert_eq!(response.status(), status);
    }
}

#[catch(401)]
fn own_page() -> (Status, &'static str) {
    (Status::Unauthorized, "our own page")
}

#[rocket::async_test]
async fn a_guards_refusal_becomes_a_redirect_and_a_routes_own_response_stays() {
    let builder = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new()).insecure_dev();
    let fairing = SessionFairing::new(builder.login_url("/login").build().unwrap());
    let rocket = rocket().mount("/shop", routes![subject, either]).register("/", catchers![own_page]).attach(fairing);
    let client = Client::untracked(rocket).await.unwrap();
    let response = client.get("/shop/subject?a=b").header(Accept::HTML).dispatch().await;
    assert_eq!(response.status(), Status::SeeOther);
    assert_eq!(response.headers().get_one("location"), Some("/login?next=/shop/subject%3Fa%3Db"));
    assert_eq!(response.headers().get_one("cache-control"), Some("no-store"));
    assert_eq!(response.into_string().await, None);
    let response = client.get("/shop/subject").header(Accept::JSON).dispatch().await;
    assert_eq!(response.into_string().await.as_deref(), Some("our own page"));
    let response = client.get("/shop/either").header(Accept::HTML).dispatch().await;
    assert_eq!(response.into_string().await.as_deref(), Some("out"));
}

#[rocket::async_test]
async fn a_route_is_untouched_although_a_fairing_looks_at_the_session() {
    let (manager, clock) = testing::manager();
    let cookie = testing::session(&manager).login("alice").cookie().await.unwrap();
    let looks = AdHoc::on_request("looks", |request, _| {
        Box::pin(async move {
            if request.uri().path().starts_with("/poll") {
                request.untouched();
            }
            let _: Result<Session, _> = request.session().await;
        })
    });
    let rocket = rocket().mount("/poll", routes![subject]).mount("/plain", routes![subject]);
    let client = Client::untracked(rocket.attach(looks).attach(SessionFairing::new(manager.clone()))).await.unwrap();
    for (path, lives) in [("/plain/subject", true), ("/poll/subject", false)] {
        for _ in 0..2 {
            clock.advance(std::time::Duration::from_secs(17 * 60));
            client.get(path).header(Header::new("cookie", cookie.clone())).dispatch().await;
        }
        assert_eq!(testing::look(&manager, &cookie).await.unwrap().is_new(), !lives, "{path}");
    }
}

#[derive(FromForm)]
struct Payment<'r> {
    amount: u64,
    note: &'r str,
}

#[post("/", data = "<form>")]
fn pay(form: CsrfForm<Payment<'_>>) -> String {
    format!("{} {}", form.amount, form.note)
}

#[rocket::async_test]
async fn a_form_borrows_its_decoded_fields_and_its_limit_applies() {
    let (manager, _) = testing::manager();
    let (cookie, token) = testing::session(&manager).cookie_and_csrf_token().await.unwrap();
    let client =
        Client::untracked(rocket().mount("/", routes![pay]).attach(SessionFairing::new(manager))).await.unwrap();
    let send = async |kind: ContentType, fields: &str| {
        let request = client.post("/").header(kind).header(Header::new("cookie", cookie.clone()));
        let response = request.body(format!("csrf_token={token}&{fields}")).dispatch().await;
        (response.status().code, response.into_string().await.unwrap_or_default())
    };
    assert_eq!(send(ContentType::Form, "amount=7&note=a+b%26%C3%A9&").await, (200, "7 a b&\u{e9}".to_owned()));
    assert_eq!(send(ContentType::Form, "amount=x&note=").await.0, 422);
    assert_eq!(send(ContentType::Form, "amount=7").await.0, 422);
    assert_eq!(send(ContentType::Plain, "amount=7&note=").await.0, 415);
    assert_eq!(send(ContentType::Form, &format!("amount=7&note={}", "x".repeat(40_000))).await.0, 413);
}

#[post("/out", data = "<form>")]
fn log_out(form: CsrfForm<HashMap<String, String>>) -> Result<(), SessionError> {
    form.session.logout()
}

#[rocket::async_test]
async fn a_form_without_fields_is_an_empty_map_and_needs_its_token() {
    let (manager, _) = testing::manager();
    let (cookie, token) = testing::session(&manager).login("alice").cookie_and_csrf_token().await.unwrap();
    let rocket = rocket().mount("/", routes![log_out]).attach(SessionFairing::new(manager.clone()));
    let client = Client::untracked(rocket).await.unwrap();
    for (body, status, is_over) in [(String::new(), 403, false), (format!("csrf_token={token}"), 200, true)] {
        let request = client.post("/out").header(ContentType::Form).header(Header::new("cookie", cookie.clone()));
        assert_eq!(request.body(body).dispatch().await.status().code, status);
        assert_eq!(testing::look(&manager, &cookie).await.unwrap().subject().is_none(), is_over);
    }
}
