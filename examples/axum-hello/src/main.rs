//! Remembers a visitor's name and counts the visits: `cargo run -p axum-hello`, then open http://127.0.0.1:3000.

use axum::extract::Form;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use axum::{Router, serve};
use secure_sessions_axum::{Keyring, MemoryStore, Session, SessionError, SessionLayer, SessionManager};
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Introduction {
    name: String,
}

async fn hello(session: Session) -> Result<Html<String>, SessionError> {
    let Some(name) = session.get::<String>("name")? else {
        // Nothing was put into the session: this visitor gets no cookie.
        return Ok(page(
            "<p>Hello. Who are you?</p>",
            r#"action="/name"><input name="name"> <button>That is me</button>"#,
        ));
    };
    // Two tabs at the same time both count: `update` runs again on what the other one left.
    let visits = session.update("visits", |visits: &mut u64| {
        *visits += 1;
        *visits
    })?;
    let greeting = format!("<p>Hello {}, this is visit number {visits}.</p>", escaped(&name));
    Ok(page(&greeting, r#"action="/forget"><button>Forget me</button>"#))
}

async fn introduce(session: Session, Form(visitor): Form<Introduction>) -> Result<Redirect, SessionError> {
    // A name that would outgrow the cookie is refused here, as a 413, and nothing changes.
    session.insert("name", visitor.name.trim())?;
    Ok(Redirect::to("/"))
}

async fn forget(session: Session) -> Result<Redirect, SessionError> {
    // Final, and at once: a copy of the cookie is good for nothing.
    session.logout()?;
    Ok(Redirect::to("/"))
}

fn page(text: &str, form: &str) -> Html<String> {
    Html(format!(r#"<!doctype html><title>Hello</title>{text}<form method="post" {form}</form>"#))
}

/// Your templates do this.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn app(manager: SessionManager) -> Router {
    Router::new()
        .route("/", get(hello))
        .route("/name", post(introduce))
        .route("/forget", post(forget))
        // Last, so that all routes and other layers are inside.
        .layer(SessionLayer::new(manager))
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("no signal can be received: {error}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In production: Keyring::from_env()?, a store that outlives the process, https, and no insecure_dev().
    let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).insecure_dev().build()?;
    manager.spawn_purge().detach();
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    serve(listener, app(manager.clone())).with_graceful_shutdown(interrupted()).await?;
    // A logout whose client hung up is written too, before the process ends.
    manager.drained().await;
    Ok(())
}

#[cfg(test)]
mod tests;
