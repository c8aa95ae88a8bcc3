//! Login, logout, and a page for users only: `cargo run -p actix-login`, then open http://127.0.0.1:8080.

use actix_web::body::MessageBody;
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpResponse, HttpServer, get, post, web};
use secure_sessions_actix::{
    Keyring, MemoryStore, Session, SessionError, SessionExt, SessionManager, SessionMiddleware,
};
use serde::Deserialize;

/// Stands for your users and their password hashes. Compare hashes, with a crate such as `argon2`, never plain text.
const USERS: [(&str, &str); 2] = [("alice", "wonderland"), ("bob", "builder")];

const LOGIN: &str = r#"<form method="post" action="/login">
<input name="name" placeholder="alice"> <input name="password" type="password" placeholder="wonderland"> <button>Log in</button>
</form>"#;

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

#[get("/login")]
async fn form() -> HttpResponse {
    page(LOGIN.to_owned())
}

#[post("/login")]
async fn login(session: Session, sent: web::Form<Credentials>) -> Result<HttpResponse, SessionError> {
    if !USERS.contains(&(&sent.name, &sent.password)) {
        return Ok(HttpResponse::Unauthorized().content_type("text/html").body(LOGIN));
    }
    // A new id and a fresh life. Whoever planted or copied the cookie from before has nothing.
    session.login(&sent.name)?;
    Ok(see_other("/"))
}

#[post("/logout")]
async fn logout(session: Session) -> Result<HttpResponse, SessionError> {
    session.logout()?;
    Ok(see_other("/login"))
}

/// Within the guarded scope: somebody is logged in.
async fn home(session: Session) -> Result<HttpResponse, SessionError> {
    let name = session.subject().unwrap_or_default();
    let visits = session.update("visits", |visits: &mut u64| {
        *visits += 1;
        *visits
    })?;
    Ok(page(format!(
        r#"<p>Hello {name}, visit number {visits}.</p><form method="post" action="/logout"><button>Log out</button></form>"#
    )))
}

/// Sends away whoever is not logged in.
async fn users_only(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if request.session().await?.subject().is_none() {
        return Ok(request.into_response(see_other("/login")).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

fn page(body: String) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html").body(format!("<!doctype html><title>Login</title>{body}"))
}

fn see_other(path: &'static str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header(("Location", path)).finish()
}

fn routes(config: &mut web::ServiceConfig) {
    let members = web::scope("").wrap(from_fn(users_only)).route("/", web::get().to(home));
    config.service(form).service(login).service(logout).service(members);
}

async fn stop_when_interrupted(server: ServerHandle, manager: SessionManager) {
    if let Err(error) = actix_web::rt::signal::ctrl_c().await {
        eprintln!("no signal can be received: {error}");
    }
    server.pause().await;
    // A logout whose client hung up is written before the workers, and their runtimes, end.
    manager.drained().await;
    server.stop(true).await;
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In production: Keyring::from_env()?, a store that outlives the process, https, and no insecure_dev().
    let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).insecure_dev().build()?;
    // Every worker shares the one manager: it is made outside of the closure.
    let shared = manager.clone();
    let app = move || App::new().configure(routes).wrap(SessionMiddleware::new(shared.clone()));
    let server = HttpServer::new(app).bind(("127.0.0.1", 8080))?.disable_signals().run();
    actix_web::rt::spawn(stop_when_interrupted(server.handle(), manager));
    server.await?;
    Ok(())
}

#[cfg(test)]
mod tests;
