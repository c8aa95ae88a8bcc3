//! Counts the calls of each gRPC client, who sends the cookie that it got, as metadata: `cargo run -p tonic-sessions`
//! serves `example.Counter` on 127.0.0.1:3003.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use secure_sessions_axum::{EngineError, Keyring, MemoryStore, Session, SessionExt, SessionLayer, SessionManager};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};
use tower::{Service, ServiceBuilder, service_fn};

use self::generated::counter_server::{Counter, CounterServer};

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Visits {
    #[prost(uint64, tag = "1")]
    visits: u64,
}

/// From `build.rs`.
#[allow(warnings, clippy::all, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/example.Counter.rs"));
}

struct Sessions;

#[tonic::async_trait]
impl Counter for Sessions {
    async fn count(&self, request: Request<Nothing>) -> Result<Response<Visits>, Status> {
        let visits = session(&request)?.update("visits", |visits: &mut u64| {
            *visits += 1;
            *visits
        });
        let visits = visits.map_err(|error| status(&error))?;
        if visits > 3 {
            // The count of this call is not kept: see `with_session`.
            return Err(Status::resource_exhausted("three calls are free"));
        }
        Ok(Response::new(Visits { visits }))
    }

    async fn logout(&self, request: Request<Nothing>) -> Result<Response<Visits>, Status> {
        session(&request)?.logout().map_err(|error| status(&error))?;
        Ok(Response::new(Visits { visits: 0 }))
    }
}

/// Returns the session that [`with_session`] has put there.
fn session<T>(request: &Request<T>) -> Result<&Session, Status> {
    request.extensions().get().ok_or_else(|| Status::internal("no session"))
}

/// A gRPC handler sees the extensions of its request but not the head, so the session is loaded in front of it.
async fn with_session(mut request: http::Request<Incoming>) -> Result<http::Response<Body>, Infallible> {
    let session = match request.session().await {
        Ok(session) => session,
        Err(error) => return Ok(failure(&error)),
    };
    request.extensions_mut().insert(session.clone());
    let response = CounterServer::new(Sessions).call(request).await?;
    // A gRPC failure is an HTTP 200, so the layer would commit what the failed call changed.
    if Status::from_header_map(response.headers()).is_some_and(|status| status.code() != Code::Ok) {
        session.discard();
    }
    Ok(response)
}

/// Returns the part of an error that a client may see, and no more. `Display` is for the log.
fn status(error: &EngineError) -> Status {
    eprintln!("{error}");
    let code = match error.status() {
        400 => Code::InvalidArgument,
        409 => Code::Aborted,
        413 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, error.client_text())
}

fn failure(error: &EngineError) -> http::Response<Body> {
    status(error).into_http()
}

async fn serve(listener: TcpListener, manager: SessionManager) -> std::io::Result<()> {
    let sessions = SessionLayer::new(manager).on_error(|error: &EngineError, _: &http::request::Parts| failure(error));
    let service = ServiceBuilder::new().layer(sessions).service(service_fn(with_session));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection broke: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In production: Keyring::from_env()?, a store that outlives the process, https, and no insecure_dev().
    let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).insecure_dev().build()?;
    serve(TcpListener::bind("127.0.0.1:3003").await?, manager).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
