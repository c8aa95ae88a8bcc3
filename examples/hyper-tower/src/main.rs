//! Counts visits without a web framework, by a tower service that hyper serves: `cargo run -p hyper-tower`, then open
//! http://127.0.0.1:3002.

use std::convert::Infallible;
use std::error::Error;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use secure_sessions_axum::{EngineError, Keyring, MemoryStore, SessionError, SessionExt, SessionLayer, SessionManager};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

async fn route(request: Request<Incoming>) -> Result<Response<String>, SessionError> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => {
            let session = request.session().await?;
            let visits = session.update("visits", |visits: &mut u64| {
                *visits += 1;
                *visits
            })?;
            Ok(Response::new(format!("visit number {visits}\n")))
        }
        (&Method::POST, "/logout") => {
            request.session().await?.logout()?;
            Ok(Response::new("goodbye\n".to_owned()))
        }
        _ => Ok(answer(StatusCode::NOT_FOUND, "Nothing is here.\n")),
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(route(request).await.unwrap_or_else(|error| failure(error.kind())))
}

/// Returns the part of an error that a client may see, and no more. `Display` is for the log.
fn failure(error: &EngineError) -> Response<String> {
    eprintln!("{error}");
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, error.client_text())
}

fn answer(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}

async fn serve(listener: TcpListener, manager: SessionManager) -> std::io::Result<()> {
    // A session that cannot be committed has the same answer as one that cannot be read.
    let sessions =
        SessionLayer::new(manager).on_error(|error: &EngineError, _: &hyper::http::request::Parts| failure(error));
    let service = ServiceBuilder::new().layer(sessions).service(service_fn(respond));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection broke: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In production: Keyring::from_env()?, a store that outlives the process, https, and no insecure_dev().
    let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).insecure_dev().build()?;
    let listener = TcpListener::bind("127.0.0.1:3002").await?;
    tokio::select! {
        ended = serve(listener, manager.clone()) => ended?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    // A write that has begun is completed before the process ends.
    manager.drained().await;
    Ok(())
}

#[cfg(test)]
mod tests;
