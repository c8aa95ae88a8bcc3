//! The acceptance program on Actix Web: routes, and nothing else.

use std::time::Duration;

use acceptance::{
    Account, Admin, Answer, App, Cart, Control, Payment, Query, Request, Verb, Work, config, control, routes, work,
};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::middleware::{Condition, Next, from_fn};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse, HttpServer, Route};
use futures_util::{StreamExt, stream};
use secure_sessions_actix::{
    Allowed, CrossOrigin, CrossOriginMiddleware, CsrfForm, CsrfSession, LoggedIn, MaybeLoggedIn, Session, SessionError,
    SessionMiddleware, Typed, TypedOrDefault, Untouched,
};
use serde_json::json;

fn main() -> std::process::ExitCode {
    acceptance::run(|app, listener| async move {
        let workers = config::parsed("THREADS").map_err(std::io::Error::other)?;
        let mut server = HttpServer::new(move || {
            let mut sessions = SessionMiddleware::new(app.manager.clone());
            if app.on_error {
                sessions = sessions.on_error(|error, _| response(work::own_response(error)));
            }
            actix_web::App::new()
                .app_data(Data::new(app.clone()))
                .configure(|config| routes(config, &app))
                .wrap(Condition::new(
                    app.cross_origin.is_some(),
                    CrossOriginMiddleware::new(app.cross_origin.clone().unwrap_or_default()),
                ))
                .wrap(sessions)
        });
        if let Some(workers) = workers {
            server = server.workers(workers);
        }
        server.listen(listener)?.run().await
    })
}

fn routes(config: &mut ServiceConfig, app: &App) {
    config.route("/", web::get().to(index)).route("/live", web::get().to(live));
    for (verb, path, work) in routes::ROUTES {
        config.route(path, with_session(*verb, *work));
    }
    for (verb, path, control) in control::ROUTES {
        config.route(path, without_session(*verb, *control));
    }
    if app.extra {
        extra_routes(config, app);
    }
    if app.faults {
        for (verb, path, control) in control::FAULT_ROUTES {
            config.route(path, without_session(*verb, *control));
        }
    }
}

fn extra_routes(config: &mut ServiceConfig, app: &App) {
    for (verb, path, work) in routes::EXTRA_ROUTES {
        config.route(path, with_session(*verb, *work));
    }
    for (verb, path, control) in control::EXTRA_ROUTES {
        config.route(path, without_session(*verb, *control));
    }
    let guarded = web::resource("/extra/guarded").route(web::post().to(guarded)).wrap(from_fn(guard));
    let nested = web::resource("/extra/nested")
        .route(with_session(Verb::Post, Work::Set))
        .wrap(SessionMiddleware::new(app.manager.clone()));
    let same_origin = web::resource("/extra/same-origin")
        .route(web::post().to(index))
        .wrap(CrossOriginMiddleware::new(CrossOrigin::default()));
    config
        .route("/extra/two", web::post().to(two))
        .route("/extra/typed", web::post().to(typed))
        .route("/extra/rejected", web::post().to(rejected))
        .route("/extra/recent", web::get().to(recent))
        .route("/extra/late", web::get().to(late))
        .route("/extra/csrf", web::post().to(csrf))
        .route("/extra/form", web::post().to(form))
        .route("/extra/lenient", web::post().to(lenient))
        .route("/extra/untouched", web::get().to(untouched))
        .route("/extra/me", web::get().to(me))
        .route("/extra/subject", web::get().to(subject))
        .route("/extra/maybe", web::get().to(maybe))
        .route("/extra/admin", web::get().to(admin))
        .service(same_origin)
        .service(guarded)
        .service(nested);
}

fn with_session(verb: Verb, work: Work) -> Route {
    route(verb).to(move |app: Data<App>, session: Session, head: HttpRequest| async move {
        let csrf_token = head.headers().get("x-csrf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let request = Request { query: query(&head), csrf_token };
        response(work.run(&app, &session, &request).await)
    })
}

fn without_session(verb: Verb, control: Control) -> Route {
    route(verb)
        .to(move |app: Data<App>, head: HttpRequest| async move { response(control.run(&app, &query(&head)).await) })
}

fn route(verb: Verb) -> Route {
    match verb {
        Verb::Get => web::get(),
        Verb::Post => web::post(),
    }
}

fn query(head: &HttpRequest) -> Query {
    Query::parse(Some(head.query_string()))
}

fn response(answer: Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = answer.text();
    let mut response = HttpResponse::build(status);
    response.content_type(ContentType::json());
    for header in answer.headers {
        response.append_header(header);
    }
    response.body(body)
}

async fn index(app: Data<App>, head: HttpRequest) -> &'static str {
    let query = query(&head);
    app.loaded(&query).await;
    app.before_reply(&query).await;
    "ok"
}

async fn live(session: Session) -> HttpResponse {
    let lines = work::watched(session).map(|line| Ok::<_, Error>(Bytes::from_static(line.as_bytes())));
    HttpResponse::Ok().content_type(ContentType::plaintext()).streaming(lines)
}

/// Two extractors in one handler share one state.
async fn two(first: Session, second: Session, head: HttpRequest) -> Result<HttpResponse, SessionError> {
    let query = query(&head);
    first.insert(query.text("k"), query.text("v"))?;
    let seen = second.get::<String>(query.text("k"))?;
    Ok(response(Answer::ok(json!({ "second": seen }))))
}

async fn typed(mut cart: Typed<Cart>, head: HttpRequest) -> Result<HttpResponse, SessionError> {
    let item = query(&head).text("item").to_owned();
    cart.update(move |cart| cart.items.push(item.clone()))?;
    Ok(response(Answer::ok(json!({ "items": cart.items }))))
}

/// The adapter's own error, as a handler returns it with `?`.
async fn rejected(session: Session) -> Result<HttpResponse, SessionError> {
    session.insert("big", "x".repeat(5000))?;
    Ok(response(Answer::ok(json!({}))))
}

/// Answers only users who authenticated within the last minute.
async fn recent(session: Session) -> Result<HttpResponse, SessionError> {
    session.require_recent_auth(Duration::from_secs(60))?;
    Ok(response(Answer::ok(json!({ "recent": true }))))
}

/// The extractor that asks for a CSRF token in the header.
async fn csrf(session: CsrfSession) -> Result<HttpResponse, SessionError> {
    session.insert("csrf", "verified")?;
    Ok(response(Answer::ok(json!({}))))
}

/// Answers with the session's operations that still work once the response's headers have gone ahead of its body.
async fn late(session: Session) -> HttpResponse {
    let body = stream::once(async move { Ok::<_, Error>(Bytes::from(work::late(&session).await.to_string())) });
    HttpResponse::Ok().content_type(ContentType::json()).streaming(body)
}

/// A middleware within the session middleware: lets only logged-in users pass, and leaves a note.
async fn guard(
    session: Session,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if session.subject().is_none() {
        let refusal = response(Answer::error(403, "log in first"));
        return Ok(request.into_response(refusal).map_into_right_body());
    }
    session.insert("guard", "passed")?;
    let response = next.call(request).await?;
    session.insert("after", "handler")?;
    Ok(response.map_into_left_body())
}

async fn guarded(session: Session) -> Result<HttpResponse, SessionError> {
    Ok(response(Answer::ok(json!({ "guard": session.get::<String>("guard")? }))))
}

async fn form(payment: CsrfForm<Payment>) -> Result<HttpResponse, SessionError> {
    payment.session.insert("paid", payment.amount)?;
    Ok(response(Answer::ok(json!({ "amount": payment.amount, "note": payment.note }))))
}

async fn lenient(mut cart: TypedOrDefault<Cart>, head: HttpRequest) -> Result<HttpResponse, SessionError> {
    let item = query(&head).text("item").to_owned();
    cart.update(move |cart| cart.items.push(item.clone()))?;
    Ok(response(Answer::ok(json!({ "items": cart.items }))))
}

async fn untouched(session: Untouched) -> Result<HttpResponse, SessionError> {
    Ok(response(Answer::ok(acceptance::views::state(&session)?)))
}

async fn me(account: LoggedIn<Account>) -> HttpResponse {
    response(Answer::ok(json!({ "name": account.name })))
}

async fn subject(user: LoggedIn) -> HttpResponse {
    response(Answer::ok(json!({ "name": user.as_str() })))
}

async fn maybe(user: MaybeLoggedIn<Account>) -> HttpResponse {
    response(Answer::ok(json!({ "name": user.0.map(|user| user.into_user().name) })))
}

async fn admin(account: Allowed<Admin, Account>) -> HttpResponse {
    response(Answer::ok(json!({ "name": account.name })))
}
