//! The rules that every adapter keeps, over a real socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use poem::error::InternalServerError;
use poem::http::StatusCode;
use poem::middleware::CatchPanic;
use poem::{EndpointExt, IntoResponse, Request, Response, Route, get, handler};
use poem_adapter::{Session, SessionError, SessionMiddleware, Typed};
use secure_sessions::{Keyring, MemoryStore, SessionManager, testing};
use serde::{Deserialize, Serialize};

use self::support::{Site, StoreWithASwitch};

#[derive(Default, Serialize, Deserialize)]
struct Visits {
    visits: u64,
}

#[handler]
fn see() -> &'static str {
    "nobody looked"
}

#[handler]
fn look(visits: Typed<Visits>, session: Session) -> String {
    format!("{} {}", session.subject().unwrap_or_default(), visits.visits)
}

#[handler]
fn count(mut visits: Typed<Visits>, session: Session) -> Result<String, SessionError> {
    visits.update(|seen| seen.visits += 1)?;
    Ok(format!("{} {}", session.subject().unwrap_or_default(), visits.visits))
}

#[handler]
fn log_in(session: Session) -> Result<(), SessionError> {
    session.login("alice")
}

#[handler]
fn log_out(session: Session) -> Result<(), SessionError> {
    session.logout()
}

/// Sets a cookie of its own.
#[handler]
fn theme(session: Session) -> Result<Response, SessionError> {
    session.insert("visits", 1)?;
    Ok(().with_header("Set-Cookie", "theme=dark; Path=/").into_response())
}

/// Fails after it changed the session, with a response, with an error, or by a panic.
#[handler]
fn fail(request: &Request, session: Session) -> poem::Result<StatusCode> {
    session.insert("visits", 99)?;
    match request.uri().query() {
        Some("login") => session.login("mallory")?,
        Some("logout") => session.logout()?,
        Some("error") => return Err(InternalServerError(std::io::Error::other("broken"))),
        Some("panic") => panic!("on purpose"),
        Some("404") => return Err(StatusCode::NOT_FOUND.into()),
        _ => {}
    }
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Everything inside of a second middleware of the same manager.
fn routes(manager: &SessionManager) -> impl poem::Endpoint + use<> {
    Route::new()
        .at("/see", get(see))
        .at("/look", get(look))
        .at("/count", get(count))
        .at("/login", get(log_in))
        .at("/logout", get(log_out))
        .at("/theme", get(theme))
        .at("/fail", get(fail))
        .with(SessionMiddleware::new(manager.clone()))
        .with(CatchPanic::new())
}

async fn site() -> (Site, SessionManager, secure_sessions::ManualClock) {
    let (manager, clock) = testing::manager();
    (Site::serve(&manager, routes(&manager)).await, manager, clock)
}

#[tokio::test]
async fn state_is_kept_from_request_to_request_and_ends_with_the_idle_timeout() {
    let (site, _manager, clock) = site().await;
    let first = site.get("/count", "").await;
    assert_eq!(first.body, " 1");
    assert_eq!(first.headers["cache-control"], "no-store");
    assert_eq!(first.headers["vary"], "Cookie");
    let second = site.get("/count", first.cookie()).await;
    assert_eq!(second.body, " 2");
    // This browser did not get the second answer. Its older cookie does not bring the older state back.
    assert_eq!(site.get("/count", first.cookie()).await.body, " 3");
    clock.advance(Duration::from_secs(32 * 60));
    assert_eq!(site.get("/look", second.cookie()).await.body, " 0");
}

#[tokio::test]
async fn after_login_the_old_cookie_is_good_for_nothing_and_after_logout_none_is() {
    let (site, ..) = site().await;
    let before = site.get("/count", "").await;
    let login = site.get("/login", before.cookie()).await;
    assert_eq!(site.get("/look", login.cookie()).await.body, "alice 1");
    assert_eq!(site.get("/look", before.cookie()).await.body, " 0");
    let logout = site.get("/logout", login.cookie()).await;
    assert_eq!(logout.cookie(), "session=", "the browser's cookie is removed");
    assert_eq!(site.get("/look", login.cookie()).await.body, " 0");
}

#[tokio::test]
async fn a_session_made_without_a_browser_is_logged_in() {
    let (site, manager, _clock) = site().await;
    let cookie = testing::session(&manager).login("bob").insert("visits", 6).cookie().await.unwrap();
    assert_eq!(site.get("/count", &cookie).await.body, "bob 7");
}

#[tokio::test]
async fn at_most_one_cookie_of_ours_is_set_and_none_where_nothing_changed() {
    let (site, ..) = site().await;
    for path in ["/see", "/look", "/logout"] {
        assert_eq!(site.get(path, "").await.cookies(), [""; 0], "{path}");
    }
    assert!(!site.get("/see", "").await.headers.contains_key("vary"), "nobody looked");
    let first = site.get("/count", "").await;
    assert_eq!(site.get("/look", first.cookie()).await.cookies(), [""; 0]);
}

#[tokio::test]
async fn the_applications_own_cookie_stays_beside_ours() {
    let (site, ..) = site().await;
    let answer = site.get("/theme", "").await;
    let [theirs, ours] = answer.cookies()[..] else { panic!("{:?}", answer.cookies()) };
    assert_eq!(theirs, "theme=dark");
    assert!(ours.starts_with("session="));
}

#[tokio::test]
async fn a_5xx_by_status_error_or_panic_discards_all_changes_but_a_logout() {
    let (site, ..) = site().await;
    let login = site.get("/login", "").await;
    let counted = site.get("/count", login.cookie()).await;
    for how in ["", "?login", "?error", "?panic"] {
        let failed = site.get(&format!("/fail{how}"), counted.cookie()).await;
        assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(failed.cookies(), [""; 0], "{how}");
        assert_eq!(site.get("/look", counted.cookie()).await.body, "alice 1", "{how}");
    }
    let failed = site.get("/fail?logout", counted.cookie()).await;
    assert_eq!((failed.status, failed.cookie()), (StatusCode::INTERNAL_SERVER_ERROR, "session="));
    assert_eq!(site.get("/look", counted.cookie()).await.body, " 0");
}

#[tokio::test]
async fn an_error_with_a_status_below_500_commits_and_carries_the_cookie() {
    let (site, ..) = site().await;
    let answer = site.get("/fail?404", "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/look", answer.cookie()).await.body, " 99");
}

#[tokio::test]
async fn a_failing_store_is_an_opaque_503_that_leaves_the_cookie_alone() {
    let store = StoreWithASwitch::default();
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).insecure_dev();
    let manager = builder.build().unwrap();
    let site = Site::serve(&manager, routes(&manager)).await;
    let cookie = testing::session(&manager).insert("visits", 1).cookie().await.unwrap();
    store.switch_off();
    let answer = site.get("/look", &cookie).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "the extractor cannot load");
    assert_eq!(answer.body, "Sessions are not available at the moment. Try again later.");
    assert_eq!(answer.cookies(), [""; 0]);
    let answer = site.get("/count", "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "the commit takes the response's place");
    assert_eq!(answer.body, "Sessions are not available at the moment. Try again later.");
    assert_eq!(answer.cookies(), [""; 0]);
    assert_eq!(site.get("/see", &cookie).await.status, StatusCode::OK, "nobody looked");
}

#[tokio::test]
async fn managers_have_sessions_of_their_own_and_a_missing_middleware_is_an_error() {
    let staff = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new());
    let staff = staff.insecure_dev().cookie_name("staff").build().unwrap();
    let (shop, _clock) = testing::manager();
    let site = Site::serve(&staff, routes(&shop)).await;
    assert!(site.get("/count", "").await.cookie().starts_with("session="), "the inner one's");

    let bare = Route::new().at("/look", get(look));
    let error = poem::Endpoint::call(&bare, Request::builder().uri_str("/look").finish()).await.unwrap_err();
    assert!(error.to_string().contains("SessionMiddleware::new(manager)"), "{error}");
    let response = error.into_response();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    // In a debug build the client is told, too: it is the developer.
    let text = response.into_body().into_string().await.unwrap();
    assert!(text.contains("SessionMiddleware::new(manager)"), "{text}");
}
