//! The additions of the middleware and the extractors to the engine: its rules run over real sockets in the acceptance
//! suite.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::guard::fn_guard;
use actix_web::http::{StatusCode, header};
use actix_web::middleware::{ErrorHandlerResponse, ErrorHandlers, Next, from_fn};
use actix_web::test::{TestRequest, call_and_read_body, call_service, init_service, read_body, try_call_service};
use actix_web::{App, Error, HttpResponse, ResponseError, get, web};
use secure_sessions_actix::{
    MemoryStore, OptionalSession, Session, SessionError, SessionExt, SessionManager, SessionMiddleware, SessionStore,
    Typed,
};
use serde::{Deserialize, Serialize};
use support::{ControlledStore, cookies, manager, manager_named, request};

#[get("/")]
async fn count(session: Session) -> Result<String, SessionError> {
    let n = session.update("n", |n: &mut u64| {
        *n += 1;
        *n
    })?;
    Ok(n.to_string())
}

#[get("/login")]
async fn login(session: Session) -> Result<&'static str, SessionError> {
    session.login("alice")?;
    Ok("in")
}

async fn count_in_middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    request.session().await?.update("n", |n: &mut u64| *n += 1)?;
    let response = next.call(request).await?;
    response.request().session().await?.insert("after", response.status().as_u16())?;
    Ok(response)
}

/// A middleware that changes the session and then fails.
async fn refuse(
    session: Session,
    request: ServiceRequest,
    _: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    session.insert("refused", request.path())?;
    if request.path() == "/logout" {
        session.logout()?;
    }
    if request.path() == "/denied" {
        return Err::<ServiceResponse, Error>(Denied.into());
    }
    Err(actix_web::error::ErrorBadGateway("broken"))
}

#[derive(Debug)]
struct Denied;

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("denied")
    }
}

impl ResponseError for Denied {
    fn status_code(&self) -> StatusCode {
        StatusCode::FORBIDDEN
    }
}

#[actix_web::test]
async fn a_counter_counts_and_the_cookie_is_sensitive() {
    let app = init_service(App::new().service(count).wrap(SessionMiddleware::new(manager()))).await;
    let first = call_service(&app, request("/", None).to_request()).await;
    assert!(first.headers().get(header::SET_COOKIE).unwrap().is_sensitive());
    assert_eq!(first.headers().get(header::CACHE_CONTROL).unwrap(), "no-store");
    assert_eq!(first.headers().get(header::VARY).unwrap(), "Cookie");
    let cookie = cookies(first.headers()).remove(0);
    assert_eq!(call_and_read_body(&app, request("/", Some(&cookie)).to_request()).await, "2");
}

#[actix_web::test]
async fn a_missing_middleware_is_explained_by_the_error_and_to_developers() {
    let app = init_service(App::new().service(count)).await;
    let response = call_service(&app, request("/", None).to_request()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
    // A test of a release build has no developer for a client.
    let explained = text.contains(".wrap(SessionMiddleware::new(manager))");
    assert!(if cfg!(debug_assertions) { explained } else { text == "Internal server error." }, "{text}");
    let error = TestRequest::default().to_http_request().session().await.unwrap_err();
    assert!(error.to_string().contains(".wrap(SessionMiddleware::new(manager))"), "{error}");
}

#[actix_web::test]
async fn an_optional_session_is_none_without_a_middleware_and_503_without_a_store() {
    async fn perhaps(OptionalSession(session): OptionalSession) -> String {
        session.is_some().to_string()
    }

    let without = init_service(App::new().route("/", web::get().to(perhaps))).await;
    assert_eq!(call_and_read_body(&without, request("/", None).to_request()).await, "false");

    let store = ControlledStore::default();
    let sessions = SessionMiddleware::new(manager_named("session", store.clone()));
    let app = init_service(App::new().route("/", web::get().to(perhaps)).service(login).wrap(sessions)).await;
    let cookie = cookies(call_service(&app, request("/login", None).to_request()).await.headers()).remove(0);
    assert_eq!(call_and_read_body(&app, request("/", Some(&cookie)).to_request()).await, "true");
    store.set_down();
    let response = call_service(&app, request("/", Some(&cookie)).to_request()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "and not a user who is not logged in");
}

#[actix_web::test]
async fn nested_middlewares_share_a_session_exactly_when_they_share_a_manager() {
    let store = MemoryStore::new();
    let (shop, staff) = (manager_named("shop", store.clone()), manager_named("staff", MemoryStore::new()));
    let scope = web::scope("").service(count).wrap(SessionMiddleware::new(shop.clone()));
    let app = App::new().service(scope).wrap(from_fn(count_in_middleware)).wrap(SessionMiddleware::new(shop.clone()));
    let app = init_service(app).await;
    let response = call_service(&app, request("/", None).to_request()).await;
    assert_eq!(cookies(response.headers()).len(), 1);
    assert_eq!(read_body(response).await, "2", "middleware and handler changed one session");
    assert_eq!(store.count().await.unwrap(), 1);

    let scope = web::scope("").service(count).wrap(SessionMiddleware::new(staff));
    let app = App::new().service(scope).wrap(from_fn(count_in_middleware)).wrap(SessionMiddleware::new(shop));
    let app = init_service(app).await;
    let response = call_service(&app, request("/", None).to_request()).await;
    let names: Vec<_> = cookies(response.headers()).iter().map(|c| c.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["staff", "shop"]);
    assert_eq!(read_body(response).await, "1", "what the middleware changed, before and after, is the shop's");
}

#[actix_web::test]
async fn an_inner_middleware_s_error_keeps_type_and_status_and_carries_the_cookie() {
    let store = MemoryStore::new();
    let manager = manager_named("session", store.clone());
    let app = App::new().wrap(from_fn(refuse)).wrap(SessionMiddleware::new(manager));
    let app = init_service(app).await;
    let error = try_call_service(&app, request("/denied", None).to_request()).await.unwrap_err();
    assert!(error.as_error::<Denied>().is_some());
    for _ in 0..2 {
        let response = error.error_response();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(cookies(response.headers()).len(), 1);
        assert_eq!(response.headers().get(header::CACHE_CONTROL).unwrap(), "no-store");
    }
    assert_eq!(store.count().await.unwrap(), 1);
}

#[actix_web::test]
async fn an_inner_5xx_error_discards_changes_and_keeps_a_logout() {
    let store = MemoryStore::new();
    let manager = manager_named("session", store.clone());
    let inner = web::scope("/inner").service(login);
    let app = init_service(App::new().service(inner).wrap(SessionMiddleware::new(manager.clone()))).await;
    let cookie = cookies(call_service(&app, request("/inner/login", None).to_request()).await.headers()).remove(0);
    let app = init_service(App::new().wrap(from_fn(refuse)).wrap(SessionMiddleware::new(manager))).await;
    for (path, left) in [("/other", 1), ("/logout", 0)] {
        let error = try_call_service(&app, request(path, Some(&cookie)).to_request()).await.unwrap_err();
        let response = error.error_response();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(cookies(response.headers()).len(), 1 - left, "{path}");
        assert_eq!(store.count().await.unwrap(), left as u64);
    }
}

/// Changes the session, and may log out; then never answers.
async fn hang(session: Session, request: actix_web::HttpRequest) -> Result<HttpResponse, SessionError> {
    session.insert("n", 1)?;
    if request.path() == "/logout" {
        session.logout()?;
    }
    std::future::pending().await
}

async fn timed_out(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let answer = actix_web::rt::time::timeout(std::time::Duration::from_millis(20), next.call(request)).await;
    answer.unwrap_or_else(|_| Err(actix_web::error::ErrorRequestTimeout("too late")))
}

#[actix_web::test]
async fn a_timeout_inside_discards_half_of_the_work_and_keeps_a_logout() {
    // The server's response to an error.
    let late = |outcome: Result<ServiceResponse<_>, Error>| outcome.err().unwrap().error_response();
    let store = MemoryStore::new();
    let hangs = || web::get().to(hang);
    let has = |session: Session| async move { session.contains_key("n").to_string() };
    let app = App::new().service(login).route("/hang", hangs()).route("/logout", hangs());
    let app = app.route("/n", web::get().to(has)).wrap(from_fn(timed_out));
    let app = init_service(app.wrap(SessionMiddleware::new(manager_named("session", store.clone())))).await;
    let cookie = cookies(call_service(&app, request("/login", None).to_request()).await.headers()).remove(0);
    let response = late(try_call_service(&app, request("/hang", Some(&cookie)).to_request()).await);
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(cookies(response.headers()).is_empty());
    assert_eq!(call_and_read_body(&app, request("/n", Some(&cookie)).to_request()).await, "false");
    let response = late(try_call_service(&app, request("/logout", Some(&cookie)).to_request()).await);
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(cookies(response.headers()), ["session="]);
    assert_eq!(store.count().await.unwrap(), 0);
}

async fn revoked_meanwhile(manager: web::Data<SessionManager>, session: Session) -> Result<&'static str, SessionError> {
    session.insert("n", 1)?;
    manager.revoke_subject("alice").await?;
    Ok("done")
}

#[actix_web::test]
async fn a_commit_that_fails_replaces_the_response_with_the_applications_own() {
    let manager = manager();
    for own in [false, true] {
        let mut middleware = SessionMiddleware::new(manager.clone());
        if own {
            middleware = middleware.on_error(|error, head| {
                HttpResponse::Gone().body(format!("own page of {} {}: {error}", head.method, head.uri))
            });
        }
        let marked = |mut response: ServiceResponse<_>| {
            response.headers_mut().insert(header::SERVER, header::HeaderValue::from_static("seen"));
            Ok(ErrorHandlerResponse::Response(response.map_into_left_body()))
        };
        let app = App::new()
            .app_data(web::Data::new(manager.clone()))
            .service(login)
            .route("/slow", web::get().to(revoked_meanwhile))
            .wrap(middleware)
            .wrap(ErrorHandlers::new().default_handler(marked));
        let app = init_service(app).await;
        let cookie = cookies(call_service(&app, request("/login", None).to_request()).await.headers()).remove(0);
        let response = call_service(&app, request("/slow?a=b", Some(&cookie)).to_request()).await;
        assert_eq!(response.status(), if own { StatusCode::GONE } else { StatusCode::CONFLICT });
        assert_eq!(response.headers().get(header::SERVER).unwrap(), "seen", "by an error handler outside");
        assert!(cookies(response.headers()).is_empty());
        let text = read_body(response).await;
        assert!(
            if own { text.starts_with(b"own page of GET /slow?a=b: ") } else { text == "The session has ended." },
            "{text:?}"
        );
    }
}

/// Revokes the session that it changed, and fails too.
async fn revoke_and_refuse(
    manager: web::Data<SessionManager>,
    session: Session,
    _: ServiceRequest,
    _: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    revoked_meanwhile(manager, session).await?;
    Err::<ServiceResponse, Error>(Denied.into())
}

#[actix_web::test]
async fn a_commit_that_fails_replaces_the_error_of_an_inner_middleware_too() {
    let manager = manager();
    let app = init_service(App::new().service(login).wrap(SessionMiddleware::new(manager.clone()))).await;
    let cookie = cookies(call_service(&app, request("/login", None).to_request()).await.headers()).remove(0);
    let app = App::new()
        .app_data(web::Data::new(manager.clone()))
        .wrap(from_fn(revoke_and_refuse))
        .wrap(SessionMiddleware::new(manager));
    let error = try_call_service(&init_service(app).await, request("/", Some(&cookie)).to_request()).await.unwrap_err();
    let response = error.error_response();
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert!(cookies(response.headers()).is_empty());
    assert_eq!(response.headers().get(header::CACHE_CONTROL).unwrap(), "no-store");
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

async fn views(mut cart: Typed<Cart>, mut visits: Typed<Count>, session: Session) -> Result<String, SessionError> {
    cart.update(|cart| cart.items.push("book".to_owned()))?;
    visits.update(|visits| visits.n += 1)?;
    session.insert("other", true)?;
    assert_eq!(session.get::<Vec<String>>("items")?, Some(cart.items.clone()));
    assert!(cart.note.is_none());
    Ok(format!("{} {}", cart.items.len(), visits.n))
}

#[actix_web::test]
async fn typed_views_and_keyed_access_change_one_session_side_by_side() {
    let app = App::new().route("/", web::get().to(views)).wrap(SessionMiddleware::new(manager()));
    let app = init_service(app).await;
    let first = call_service(&app, request("/", None).to_request()).await;
    let cookie = cookies(first.headers()).remove(0);
    assert_eq!(read_body(first).await, "1 1");
    assert_eq!(call_and_read_body(&app, request("/", Some(&cookie)).to_request()).await, "2 2");
}

fn guarded(config: &mut web::ServiceConfig) {
    let members = web::scope("")
        .guard(fn_guard(|context| context.loaded_session().is_some_and(|session| session.subject().is_some())))
        .route("/login", web::get().to(async || "already in"))
        .route("/hello/{name}", web::get().to(async |name: web::Path<String>, _: Session| format!("hello {name}")));
    config.service(members).service(login);
}

#[actix_web::test]
async fn guards_see_the_session_under_an_eager_middleware_only() {
    let manager = manager();
    let eager = SessionMiddleware::new(manager.clone()).eager();
    let app = init_service(App::new().configure(guarded).wrap(eager)).await;
    let first = call_service(&app, request("/login", None).to_request()).await;
    let cookie = cookies(first.headers()).remove(0);
    assert_eq!(read_body(first).await, "in");
    assert_eq!(call_and_read_body(&app, request("/login", Some(&cookie)).to_request()).await, "already in");
    assert_eq!(call_and_read_body(&app, request("/hello/you", Some(&cookie)).to_request()).await, "hello you");
    assert_eq!(call_service(&app, request("/hello/you", None).to_request()).await.status(), StatusCode::NOT_FOUND);

    let app = init_service(App::new().configure(guarded).wrap(SessionMiddleware::new(manager))).await;
    assert_eq!(
        call_service(&app, request("/hello/you", Some(&cookie)).to_request()).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[actix_web::test]
async fn with_an_eager_middleware_a_store_that_is_down_is_an_uncached_opaque_503() {
    let store = ControlledStore::default();
    let eager = SessionMiddleware::new(manager_named("session", store.clone())).eager();
    let app = init_service(App::new().configure(guarded).wrap(eager)).await;
    let cookie = cookies(call_service(&app, request("/login", None).to_request()).await.headers()).remove(0);
    store.set_down();
    let response = call_service(&app, request("/hello/you", Some(&cookie)).to_request()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers().get(header::CACHE_CONTROL).unwrap(), "no-store");
    assert!(cookies(response.headers()).is_empty());
    assert_eq!(read_body(response).await, "Sessions are not available at the moment. Try again later.");
}

#[actix_web::test]
async fn a_commit_runs_to_its_end_when_the_client_hangs_up() {
    let store = ControlledStore::default();
    let app = App::new().service(count).wrap(SessionMiddleware::new(manager_named("session", store.clone())));
    let app = init_service(app).await;
    store.close();
    let answering = app.call(request("/", None).to_request());
    let hung_up = tokio::select! {
        _ = answering => false,
        () = store.waiting() => true,
    };
    assert!(hung_up, "the store was asked, and had not answered");
    assert_eq!(store.count().await.unwrap(), 0);
    store.open();
    store.inserted().await;
    assert_eq!(store.count().await.unwrap(), 1);
}

#[actix_web::test]
async fn a_panic_commits_nothing() {
    let store = MemoryStore::new();
    async fn handler(session: Session) -> &'static str {
        session.insert("n", 1).unwrap();
        panic!("on purpose")
    }
    let app = App::new()
        .route("/", web::get().to(handler))
        .wrap(SessionMiddleware::new(manager_named("session", store.clone())));
    let app = init_service(app).await;
    let answering = async move { app.call(request("/", None).to_request()).await.is_ok() };
    assert!(actix_web::rt::spawn(answering).await.unwrap_err().is_panic());
    assert_eq!(store.count().await.unwrap(), 0);
}

#[actix_web::test]
async fn streamed_and_upgraded_responses_carry_the_cookie_and_keep_the_session() {
    async fn stream(session: Session, request: actix_web::HttpRequest) -> HttpResponse {
        session.insert("n", 1).unwrap();
        let mut response = if request.path() == "/upgraded" {
            let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
            response.upgrade("echo");
            response
        } else {
            HttpResponse::Ok()
        };
        response.streaming(futures_util::stream::once(async move {
            // The head has left: the session is committed and alive, and cannot be changed any more.
            let live = session.is_live().await.unwrap();
            let refused = session.insert("n", 2).is_err();
            Ok::<_, Error>(web::Bytes::from(format!("live {live}, refused {refused}")))
        }))
    }
    for (path, status) in [("/streamed", "HTTP/1.1 200"), ("/upgraded", "HTTP/1.1 101")] {
        let text = support::raw(
            |config| {
                config.default_service(web::to(stream));
            },
            path,
        )
        .await;
        assert!(text.starts_with(status), "{text}");
        assert!(text.contains("set-cookie: session="), "{text}");
        assert!(text.contains("live true, refused true"), "{text}");
    }
}
