//! The additions of the fairing and the guards to the engine: its rules run over real sockets in the acceptance suite.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Cookie, CookieJar, Header, Status};
use rocket::local::asynchronous::{Client, LocalResponse};
use rocket::request::{FromRequest, Outcome};
use rocket::response::content::RawHtml;
use rocket::tokio::time::timeout;
use rocket::{Build, Request, Rocket, State, catch, catchers, get, routes};
use secure_sessions_rocket::{
    Keyring, MemoryStore, OptionalSession, Session, SessionError, SessionExt, SessionFairing, SessionManager,
    SessionStore, Typed,
};
use serde::{Deserialize, Serialize};
use support::{GatedStore, Log};

fn manager(store: impl SessionStore) -> SessionManager {
    SessionManager::builder(Keyring::generate().unwrap(), store).insecure_dev().build().unwrap()
}

/// Rocket, without what it prints.
fn rocket() -> Rocket<Build> {
    rocket::custom(rocket::Config { log_level: rocket::config::LogLevel::Off, ..rocket::Config::debug_default() })
}

fn app(manager: &SessionManager) -> Rocket<Build> {
    rocket().attach(SessionFairing::new(manager.clone()))
}

async fn tracked(rocket: Rocket<Build>) -> Client {
    Client::tracked(rocket).await.unwrap()
}

/// `name=value` of each `Set-Cookie`.
fn cookies(response: &LocalResponse<'_>) -> Vec<String> {
    let lines = response.headers().get("set-cookie");
    lines.map(|line| line.split(';').next().unwrap().to_owned()).collect()
}

#[get("/count")]
fn count(session: Session) -> Result<String, SessionError> {
    session.update("n", |n: &mut u64| {
        *n += 1;
        n.to_string()
    })
}

#[get("/login")]
fn login(session: Session) -> Result<(), SessionError> {
    session.login("alice")
}

#[get("/plain")]
fn plain() -> &'static str {
    "ok"
}

#[rocket::async_test]
async fn a_counter_counts_for_a_client_that_tracks_and_one_that_sends_the_header() {
    let app = app(&manager(MemoryStore::new())).mount("/", routes![count]);
    let client = tracked(app).await;
    let first = client.get("/count").dispatch().await;
    assert_eq!(first.headers().get_one("cache-control"), Some("no-store"));
    assert_eq!(first.headers().get_one("vary"), Some("Cookie"));
    let cookie = cookies(&first).remove(0);
    assert_eq!(client.get("/count").dispatch().await.into_string().await.unwrap(), "2");

    // The raw header counts, not the jar that Rocket fills beside it.
    let request = client.get("/count").header(Header::new("Cookie", cookie)).cookie(("session", "x"));
    assert_eq!(request.dispatch().await.into_string().await.unwrap(), "3", "the newest state");
}

#[rocket::async_test]
async fn a_route_that_never_looks_is_left_alone_even_with_a_cookie() {
    let store = GatedStore::default();
    let client = tracked(app(&manager(store.clone())).mount("/", routes![count, plain])).await;
    client.get("/count").dispatch().await;
    let calls = store.calls.load(Ordering::SeqCst);
    let response = client.get("/plain").dispatch().await;
    assert!(cookies(&response).is_empty());
    assert!(!response.headers().contains("cache-control") && !response.headers().contains("vary"));
    assert_eq!(store.calls.load(Ordering::SeqCst), calls);
}

#[rocket::async_test]
async fn a_rocket_without_the_fairing_is_not_launched_and_the_log_says_why() {
    #[get("/typed")]
    fn typed(_count: Typed<Count>) {}

    #[get("/optional")]
    fn optional(_session: Option<Session>) {}

    for routes in [routes![count], routes![typed], routes![optional]] {
        let log = Log::default();
        let error = {
            let _capturing = log.capture();
            rocket().mount("/", routes).ignite().await.unwrap_err()
        };
        assert!(matches!(error.kind(), ErrorKind::SentinelAborts(_)), "{error}");
        assert!(log.text().contains(".attach(SessionFairing::new(manager))"), "{}", log.text());
    }
}

#[get("/perhaps")]
fn perhaps(session: OptionalSession) -> String {
    session.0.is_some().to_string()
}

#[rocket::async_test]
async fn without_the_fairing_an_optional_session_is_none() {
    let client = tracked(rocket().mount("/", routes![perhaps])).await;
    assert_eq!(client.get("/perhaps").dispatch().await.into_string().await.unwrap(), "false");
}

#[rocket::async_test]
async fn without_the_fairing_a_guards_look_is_an_error_that_says_what_to_attach() {
    let client = tracked(rocket()).await;
    let request = client.get("/");
    let error = request.inner().session().await.unwrap_err();
    assert!(error.to_string().contains(".attach(SessionFairing::new(manager))"), "{error}");
    // A test of a release build has no developer for a client.
    let explained = error.client_text().contains(".attach(SessionFairing::new(manager))");
    assert_eq!((error.status(), explained), (500, cfg!(debug_assertions)));
}

#[rocket::async_test]
async fn of_two_fairings_the_last_counts_and_its_manager_is_in_managed_state() {
    #[get("/live")]
    async fn live(manager: &State<SessionManager>) -> String {
        manager.count().await.unwrap().to_string()
    }

    let (of_the_application, of_the_test) = (MemoryStore::new(), MemoryStore::new());
    let app = app(&manager(of_the_application.clone())).mount("/", routes![count, live]);
    let client = tracked(app.attach(SessionFairing::new(manager(of_the_test.clone())))).await;
    assert_eq!(cookies(&client.get("/count").dispatch().await).len(), 1);
    assert_eq!(client.get("/live").dispatch().await.into_string().await.unwrap(), "1");
    assert_eq!((of_the_application.count().await.unwrap(), of_the_test.count().await.unwrap()), (0, 1));

    // An application that manages a manager already keeps it.
    let own = manager(MemoryStore::new());
    let app = rocket().manage(own.clone()).attach(SessionFairing::new(own));
    tracked(app).await;
}

#[rocket::async_test]
async fn the_applications_own_cookies_survive_beside_ours() {
    #[get("/theme")]
    fn theme(jar: &CookieJar<'_>, session: Session) -> Result<(), SessionError> {
        jar.add(("theme", "dark"));
        jar.remove("old");
        session.insert("n", 1)
    }

    let client = tracked(app(&manager(MemoryStore::new())).mount("/", routes![theme])).await;
    let response = client.get("/theme").cookie(Cookie::new("old", "x")).dispatch().await;
    let mut names: Vec<_> = cookies(&response).iter().map(|c| c.split('=').next().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["old", "session", "theme"]);
}

#[rocket::async_test]
async fn catchers_reset_the_applications_cookies_and_not_our_session() {
    #[get("/missing")]
    fn missing(jar: &CookieJar<'_>, session: Session) -> Result<Status, SessionError> {
        jar.add(("theme", "dark"));
        session.insert("n", 1)?;
        Ok(Status::NotFound)
    }

    #[catch(404)]
    async fn not_found(request: &Request<'_>) -> String {
        let session = request.session().await.unwrap();
        format!("{:?}", session.get::<u64>("n").unwrap())
    }

    let app = app(&manager(MemoryStore::new())).mount("/", routes![missing]).register("/", catchers![not_found]);
    let client = tracked(app).await;
    let response = client.get("/missing").dispatch().await;
    assert_eq!(response.status(), Status::NotFound);
    assert!(matches!(&cookies(&response)[..], [ours] if ours.starts_with("session=")), "a 4xx commits");
    assert_eq!(response.into_string().await.unwrap(), "Some(1)");
}

#[rocket::async_test]
async fn a_removed_cookie_is_removed_once() {
    #[get("/logout")]
    fn logout(session: Session) -> Result<(), SessionError> {
        session.logout()
    }

    #[get("/look")]
    fn look(session: Session) -> String {
        session.is_new().to_string()
    }

    let client = tracked(app(&manager(MemoryStore::new())).mount("/", routes![login, logout, look])).await;
    client.get("/login").dispatch().await;
    assert_eq!(cookies(&client.get("/logout").dispatch().await), ["session="]);
    let response = client.get("/look").dispatch().await;
    assert!(cookies(&response).is_empty());
    assert_eq!(response.into_string().await.unwrap(), "true");
}

/// Lets only logged-in users pass, and counts its calls.
struct User(String);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for User {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        let session = match request.session().await {
            Ok(session) => session,
            Err(error) => return Outcome::Error((Status::new(error.status()), error)),
        };
        session.update("asked", |asked: &mut u64| *asked += 1).unwrap();
        match session.subject() {
            Some(name) => Outcome::Success(Self(name)),
            None => Outcome::Forward(Status::Unauthorized),
        }
    }
}

#[rocket::async_test]
async fn a_forward_goes_on_with_the_same_session() {
    #[get("/home")]
    fn member(user: User) -> String {
        format!("welcome, {}", user.0)
    }

    #[get("/home", rank = 2)]
    fn guest(session: Session) -> String {
        format!("log in, please ({})", session.get::<u64>("asked").unwrap().unwrap())
    }

    let store = MemoryStore::new();
    let client = tracked(app(&manager(store.clone())).mount("/", routes![member, guest, login])).await;
    let response = client.get("/home").dispatch().await;
    assert_eq!(cookies(&response).len(), 1);
    assert_eq!(response.into_string().await.unwrap(), "log in, please (1)");
    client.get("/login").dispatch().await;
    assert_eq!(client.get("/home").dispatch().await.into_string().await.unwrap(), "welcome, alice");
    assert_eq!(store.count().await.unwrap(), 1);
}

#[rocket::async_test]
async fn head_is_answered_by_the_route_for_get_with_one_session() {
    let store = MemoryStore::new();
    let client = tracked(app(&manager(store.clone())).mount("/", routes![count])).await;
    assert_eq!(cookies(&client.head("/count").dispatch().await).len(), 1);
    assert_eq!(store.count().await.unwrap(), 1);
}

#[rocket::async_test]
async fn a_response_fairing_before_ours_changes_the_session_and_one_after_cannot() {
    let before = AdHoc::on_response("before", |request, _| {
        Box::pin(async move { request.session().await.unwrap().insert("before", true).unwrap() })
    });
    let after = AdHoc::on_response("after", |request, response| {
        Box::pin(async move {
            let outcome = match request.session().await {
                Ok(session) => session.insert("after", true),
                Err(error) => Err(error),
            };
            response.set_raw_header("x-after", outcome.unwrap_err().to_string());
        })
    });
    #[get("/keys")]
    fn keys(session: Session) -> String {
        session.keys().join(" ")
    }

    let sessions = SessionFairing::new(manager(MemoryStore::new()));
    let client = tracked(rocket().attach(before).attach(sessions).attach(after).mount("/", routes![keys])).await;
    let response = client.get("/keys").dispatch().await;
    assert!(response.headers().get_one("x-after").unwrap().contains("already sent"));
    assert_eq!(client.get("/keys").dispatch().await.into_string().await.unwrap(), "before");
}

#[rocket::async_test]
async fn a_look_after_the_response_was_made_without_one_is_too_late() {
    let after = AdHoc::on_response("after", |request, response| {
        Box::pin(async move {
            response.set_raw_header("x-after", request.session().await.unwrap_err().status().to_string());
        })
    });
    let client = tracked(app(&manager(MemoryStore::new())).attach(after).mount("/", routes![plain])).await;
    let response = client.get("/plain").dispatch().await;
    assert_eq!((response.status(), response.headers().get_one("x-after")), (Status::Ok, Some("500")));
    assert!(cookies(&response).is_empty());
}

#[rocket::async_test]
async fn a_store_failure_is_the_guards_outcome_and_a_catcher_makes_the_page() {
    #[get("/optional")]
    fn optional(session: Option<Session>) -> String {
        session.is_some().to_string()
    }

    #[get("/why")]
    fn why(session: Result<Session, SessionError>) -> Option<SessionError> {
        session.err()
    }

    #[catch(503)]
    fn unavailable() -> &'static str {
        "our own page"
    }

    let store = GatedStore::default();
    let app = app(&manager(store.clone())).mount("/", routes![count, optional, perhaps, why]);
    let client = tracked(app.register("/", catchers![unavailable])).await;
    client.get("/count").dispatch().await;
    store.down.store(true, Ordering::SeqCst);
    let response = client.get("/count").dispatch().await;
    assert_eq!(response.status(), Status::ServiceUnavailable);
    assert!(cookies(&response).is_empty());
    assert_eq!(response.headers().get_one("cache-control"), Some("no-store"));
    assert_eq!(response.into_string().await.unwrap(), "our own page");
    assert_eq!(client.get("/optional").dispatch().await.into_string().await.unwrap(), "false");
    assert_eq!(client.get("/perhaps").dispatch().await.status(), Status::ServiceUnavailable);

    // As a response it says nothing of the server's inside.
    let response = client.get("/why").dispatch().await;
    assert_eq!((response.status(), response.content_type()), (Status::ServiceUnavailable, Some(ContentType::Plain)));
    let text = response.into_string().await.unwrap();
    assert_eq!(text, "Sessions are not available at the moment. Try again later.");

    store.down.store(false, Ordering::SeqCst);
    assert_eq!(client.get("/count").dispatch().await.into_string().await.unwrap(), "2");
}

#[get("/slow")]
async fn revoked_meanwhile(manager: &State<SessionManager>, session: Session) -> Result<&'static str, SessionError> {
    session.insert("n", 1)?;
    manager.revoke_subject("alice").await?;
    Ok("done")
}

#[rocket::async_test]
async fn a_commit_that_fails_replaces_the_response() {
    let manager = manager(MemoryStore::new());
    let client = tracked(app(&manager).mount("/", routes![login, revoked_meanwhile])).await;
    client.get("/login").dispatch().await;
    let response = client.get("/slow").dispatch().await;
    assert_eq!((response.status(), response.content_type()), (Status::Conflict, Some(ContentType::Plain)));
    assert!(cookies(&response).is_empty());
    assert_eq!(response.into_string().await.unwrap(), "The session has ended.");
}

#[rocket::async_test]
async fn a_commit_that_fails_replaces_the_response_with_the_applications_own() {
    let sessions = SessionFairing::new(manager(MemoryStore::new())).on_error(|error, request| {
        (Status::new(error.status()), RawHtml(format!("<p>our own page for {}</p>", request.uri())))
    });
    let client = tracked(rocket().attach(sessions).mount("/", routes![login, revoked_meanwhile])).await;
    client.get("/login").dispatch().await;
    let response = client.get("/slow?a=b").dispatch().await;
    assert_eq!((response.status(), response.content_type()), (Status::Conflict, Some(ContentType::HTML)));
    assert!(cookies(&response).is_empty());
    assert_eq!(response.headers().get_one("cache-control"), Some("no-store"));
    assert_eq!(response.into_string().await.unwrap(), "<p>our own page for /slow?a=b</p>");
}

#[rocket::async_test]
async fn a_panic_is_a_500_that_discards_changes_and_keeps_a_logout() {
    #[get("/panic?<logs_out>")]
    fn panicking(session: Session, logs_out: bool) -> &'static str {
        session.insert("n", 1).unwrap();
        if logs_out {
            session.logout().unwrap();
        }
        panic!("on purpose");
    }

    let store = MemoryStore::new();
    let client = tracked(app(&manager(store.clone())).mount("/", routes![login, count, panicking])).await;
    let response = client.get("/panic?logs_out=false").dispatch().await;
    assert_eq!(response.status(), Status::InternalServerError);
    assert!(cookies(&response).is_empty());
    assert_eq!(store.count().await.unwrap(), 0);
    client.get("/login").dispatch().await;
    assert_eq!(cookies(&client.get("/panic?logs_out=true").dispatch().await), ["session="]);
    assert_eq!(store.count().await.unwrap(), 0);
}

#[rocket::async_test]
async fn a_commit_runs_to_its_end_when_the_request_is_dropped() {
    let store = GatedStore::default();
    let client = Arc::new(tracked(app(&manager(store.clone())).mount("/", routes![count])).await);
    store.closed.store(true, Ordering::SeqCst);
    let dispatched = Arc::clone(&client);
    let request = rocket::tokio::spawn(async move { dispatched.get("/count").dispatch().await.status() });
    timeout(Duration::from_secs(60), store.arrived.notified()).await.unwrap();
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(store.inner.count().await.unwrap(), 0);
    store.opened.notify_one();
    timeout(Duration::from_secs(60), store.inserted.notified()).await.unwrap();
    assert_eq!(store.inner.count().await.unwrap(), 1);
}

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
    note: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Count {
    n: u64,
}

#[rocket::async_test]
async fn typed_views_and_keyed_access_change_one_session_side_by_side() {
    #[get("/typed")]
    fn typed(mut cart: Typed<Cart>, mut count: Typed<Count>, session: Session) -> Result<String, SessionError> {
        cart.update(|cart| cart.items.push("book".to_owned()))?;
        count.update(|count| count.n += 1)?;
        session.insert("other", true)?;
        assert_eq!(session.get::<Vec<String>>("items")?, Some(cart.items.clone()));
        assert!(cart.note.is_none());
        Ok(format!("{} {}", cart.items.len(), count.n))
    }

    #[get("/spoil")]
    fn spoil(session: Session) -> Result<(), SessionError> {
        session.insert("items", 7)
    }

    let client = tracked(app(&manager(MemoryStore::new())).mount("/", routes![typed, spoil])).await;
    assert_eq!(client.get("/typed").dispatch().await.into_string().await.unwrap(), "1 1");
    assert_eq!(client.get("/typed").dispatch().await.into_string().await.unwrap(), "2 2");
    // A field of another type is the guard's failure.
    client.get("/spoil").dispatch().await;
    assert_eq!(client.get("/typed").dispatch().await.status(), Status::InternalServerError);
}
