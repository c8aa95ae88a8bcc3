//! The acceptance program on Axum: routes, and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use acceptance::{
    Account, Admin, Answer, App, Cart, Control, Payment, Query, Request, Verb, Work, control, routes, work,
};
use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request as HttpRequest, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, on, post};
use futures_util::{StreamExt, stream};
use secure_sessions_axum::{
    Allowed, CrossOrigin, CrossOriginLayer, CsrfForm, CsrfSession, DeviceLayer, EngineError, LoggedIn, MaybeLoggedIn,
    Session, SessionError, SessionLayer, Typed, TypedOrDefault, Untouched,
};
use serde_json::json;

fn main() -> std::process::ExitCode {
    acceptance::run(|app, listener| async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, routes(app).into_make_service_with_connect_info::<SocketAddr>()).await
    })
}

fn routes(app: App) -> Router {
    let mut router = Router::new().route("/", get(index)).route("/live", get(live));
    for (verb, path, work) in routes::ROUTES {
        router = router.route(path, with_session(*verb, *work));
    }
    for (verb, path, control) in control::ROUTES {
        router = router.route(path, without_session(*verb, *control));
    }
    if app.extra {
        router = extra_routes(&app, router);
    }
    if app.faults {
        for (verb, path, control) in control::FAULT_ROUTES {
            router = router.route(path, without_session(*verb, *control));
        }
    }
    let layer = SessionLayer::new(app.manager.clone());
    router = if app.on_error {
        router.layer(layer.on_error(|error: &EngineError, _: &Parts| response(work::own_response(error))))
    } else {
        router.layer(layer)
    };
    if let Some(check) = app.cross_origin.clone() {
        router = router.layer(CrossOriginLayer::new(check));
    }
    router.layer(DeviceLayer::new(app.manager.clone())).with_state(app)
}

fn extra_routes(app: &App, mut router: Router<App>) -> Router<App> {
    // Two methods of one path are merged.
    for (verb, path, work) in routes::EXTRA_ROUTES {
        router = router.route(path, with_session(*verb, *work));
    }
    for (verb, path, control) in control::EXTRA_ROUTES {
        router = router.route(path, without_session(*verb, *control));
    }
    let guarded = Router::new().route("/extra/guarded", post(guarded)).layer(from_fn(guard));
    let nested = Router::new()
        .route("/extra/nested", with_session(Verb::Post, Work::Set))
        .layer(SessionLayer::new(app.manager.clone()));
    router
        .route("/extra/two", post(two))
        .route("/extra/typed", post(typed))
        .route("/extra/rejected", post(rejected))
        .route("/extra/recent", get(recent))
        .route("/extra/late", get(late))
        .route("/extra/csrf", post(csrf))
        .route("/extra/form", post(form))
        .route("/extra/lenient", post(lenient))
        .route("/extra/untouched", get(untouched))
        .route("/extra/me", get(me))
        .route("/extra/subject", get(subject))
        .route("/extra/maybe", get(maybe))
        .route("/extra/admin", get(admin))
        .route("/extra/same-origin", post(index).layer(CrossOriginLayer::new(CrossOrigin::default())))
        .merge(guarded)
        .merge(nested)
}

fn with_session(verb: Verb, work: Work) -> MethodRouter<App> {
    let handler = move |State(app): State<App>, session: Session, RawQuery(query): RawQuery, headers: HeaderMap| async move {
        let csrf_token = headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let request = Request { query: Query::parse(query.as_deref()), csrf_token };
        response(work.run(&app, &session, &request).await)
    };
    on(filter(verb), handler)
}

fn without_session(verb: Verb, control: Control) -> MethodRouter<App> {
    let handler = move |State(app): State<App>, RawQuery(query): RawQuery| async move {
        response(control.run(&app, &Query::parse(query.as_deref())).await)
    };
    on(filter(verb), handler)
}

fn filter(verb: Verb) -> axum::routing::MethodFilter {
    match verb {
        Verb::Get => axum::routing::MethodFilter::GET,
        Verb::Post => axum::routing::MethodFilter::POST,
    }
}

fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], answer.text()).into_response();
    for (name, value) in answer.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().append(name, value);
        }
    }
    response
}

async fn index(State(app): State<App>, RawQuery(query): RawQuery) -> &'static str {
    let query = Query::parse(query.as_deref());
    app.loaded(&query).await;
    app.before_reply(&query).await;
    "ok"
}

async fn live(session: Session) -> Response {
    let lines = work::watched(session).map(Ok::<_, Infallible>);
    ([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(lines)).into_response()
}

/// Two extractors in one handler share one state.
async fn two(first: Session, second: Session, RawQuery(query): RawQuery) -> Result<Response, SessionError> {
    let query = Query::parse(query.as_deref());
    first.insert(query.text("k"), query.text("v"))?;
    let seen = second.get::<String>(query.text("k"))?;
    Ok(response(Answer::ok(json!({ "second": seen }))))
}

async fn typed(mut cart: Typed<Cart>, RawQuery(query): RawQuery) -> Result<Response, SessionError> {
    let item = Query::parse(query.as_deref()).text("item").to_owned();
    cart.update(move |cart| cart.items.push(item.clone()))?;
    Ok(response(Answer::ok(json!({ "items": cart.items }))))
}

/// The adapter's own error, as a handler returns it with `?`.
async fn rejected(session: Session) -> Result<Response, SessionError> {
    session.insert("big", "x".repeat(5000))?;
    Ok(response(Answer::ok(json!({}))))
}

/// Answers only users who authenticated within the last minute.
async fn recent(session: Session) -> Result<Response, SessionError> {
    session.require_recent_auth(Duration::from_secs(60))?;
    Ok(response(Answer::ok(json!({ "recent": true }))))
}

/// The extractor that asks for a CSRF token in the header.
async fn csrf(session: CsrfSession) -> Result<Response, SessionError> {
    session.insert("csrf", "verified")?;
    Ok(response(Answer::ok(json!({}))))
}

/// Answers with the session's operations that still work once the response's headers are gone.
async fn late(session: Session) -> Response {
    let lines = stream::once(async move { Ok::<_, Infallible>(work::late(&session).await.to_string()) });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

/// A middleware within the session layer: lets only logged-in users pass, and leaves a note.
async fn guard(session: Session, request: HttpRequest, next: Next) -> Result<Response, SessionError> {
    if session.subject().is_none() {
        return Ok(response(Answer::error(403, "log in first")));
    }
    session.insert("guard", "passed")?;
    let response = next.run(request).await;
    session.insert("after", "handler")?;
    Ok(response)
}

async fn guarded(session: Session) -> Result<Response, SessionError> {
    Ok(response(Answer::ok(json!({ "guard": session.get::<String>("guard")? }))))
}

async fn form(payment: CsrfForm<Payment>) -> Result<Response, SessionError> {
    payment.session.insert("paid", payment.amount)?;
    Ok(response(Answer::ok(json!({ "amount": payment.amount, "note": payment.note }))))
}

async fn lenient(mut cart: TypedOrDefault<Cart>, RawQuery(query): RawQuery) -> Result<Response, SessionError> {
    let item = Query::parse(query.as_deref()).text("item").to_owned();
    cart.update(move |cart| cart.items.push(item.clone()))?;
    Ok(response(Answer::ok(json!({ "items": cart.items }))))
}

async fn untouched(session: Untouched) -> Result<Response, SessionError> {
    Ok(response(Answer::ok(acceptance::views::state(&session)?)))
}

async fn me(account: LoggedIn<Account>) -> Response {
    response(Answer::ok(json!({ "name": account.name })))
}

async fn subject(user: LoggedIn) -> Response {
    response(Answer::ok(json!({ "name": user.as_str() })))
}

/// The two spellings of the same.
async fn maybe(user: MaybeLoggedIn<Account>, same: Option<LoggedIn<Account>>) -> Response {
    let names = [user.0, same].map(|user| user.map(|user| user.into_user().name));
    response(Answer::ok(json!({ "name": names[0].as_ref().filter(|name| Some(*name) == names[1].as_ref()) })))
}

async fn admin(account: Allowed<Admin, Account>) -> Response {
    response(Answer::ok(json!({ "name": account.name })))
}
