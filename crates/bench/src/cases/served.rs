//! The same applications as servers.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};
use anyhow::{Result, anyhow};
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use secure_sessions_actix::SessionMiddleware;

use super::{BARE, FILL, Framework, READ, UNSEEN, USUAL_SIZE, WRITE, actix, ours, peers, plain_cookie, rocket};

/// An application that a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// A route that knows no session.
    Bare,
    /// Our sessions.
    Ours,
    /// The framework's usual choice.
    Usual,
    /// Axum's private cookies.
    PrivateJar,
}

/// Nobody hangs up while others have their turns.
const KEEP_ALIVE: Duration = Duration::from_secs(3600);

impl Served {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bare, Self::Ours, Self::Usual, Self::PrivateJar];
    pub(crate) const UNSEEN: &str = UNSEEN;
    pub(crate) const READ: &str = READ;
    pub(crate) const WRITE: &str = WRITE;
    pub(crate) const FILL: &str = FILL;

    /// Those of a framework that know sessions.
    pub(crate) fn of(framework: Framework) -> &'static [Self] {
        if framework == Framework::Axum {
            &[Self::Ours, Self::Usual, Self::PrivateJar]
        } else {
            &[Self::Ours, Self::Usual]
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Ours => "ours",
            Self::Usual => "usual",
            Self::PrivateJar => "private-jar",
        }
    }

    pub(crate) fn described(self, framework: Framework) -> &'static str {
        match (self, framework) {
            (Self::Bare, _) => BARE,
            (Self::Ours, _) => "secure-sessions",
            (Self::Usual, Framework::Axum) => "tower-sessions 0.15",
            (Self::Usual, Framework::Actix) => "actix-session 0.11 private cookie",
            (Self::Usual, Framework::Rocket) => "private cookies",
            (Self::PrivateJar, _) => "axum-extra 0.12 private jar",
        }
    }

    /// A cookie as long as ours.
    pub(crate) fn plain_cookie() -> String {
        plain_cookie()
    }

    pub(crate) fn axum(self, path: &str) -> Result<Router> {
        Ok(match self {
            Self::Bare => Router::new().route(UNSEEN, get(|| async { StatusCode::OK })),
            Self::Ours => ours::application(ours::manager_served(path)?, USUAL_SIZE),
            Self::Usual => peers::tower_sessions(tower_sessions::MemoryStore::default()),
            Self::PrivateJar => peers::private_jar(),
        })
    }

    /// Serves on Actix Web. Its worker has a thread of its own, beside the one that accepts.
    pub(crate) async fn actix(self, path: &str, listener: TcpListener) -> Result<()> {
        let bare = |config: &mut ServiceConfig| {
            config.route(UNSEEN, web::get().to(HttpResponse::Ok));
        };
        let served = match self {
            Self::Bare => {
                let server = HttpServer::new(move || App::new().configure(bare));
                server.workers(1).keep_alive(KEEP_ALIVE).listen(listener)?.run()
            }
            Self::Ours => {
                let manager = ours::manager_served(path)?;
                let server = HttpServer::new(move || {
                    let routes = |config: &mut ServiceConfig| actix::routes(config, USUAL_SIZE);
                    App::new().configure(routes).wrap(SessionMiddleware::new(manager.clone()))
                });
                server.workers(1).keep_alive(KEEP_ALIVE).listen(listener)?.run()
            }
            _ => {
                let key = actix_web::cookie::Key::generate();
                let server =
                    HttpServer::new(move || App::new().configure(actix::peer_routes).wrap(actix::peer(key.clone())));
                server.workers(1).keep_alive(KEEP_ALIVE).listen(listener)?.run()
            }
        };
        Ok(served.await?)
    }

    /// Serves on Rocket, which chooses the port.
    pub(crate) async fn rocket(self, path: &str, ready: fn(u16)) -> Result<()> {
        let rocket = match self {
            Self::Bare => rocket::bare()?,
            Self::Ours => rocket::ours(ours::manager_served(path)?)?,
            _ => rocket::peer()?,
        };
        // Its error panics if it is dropped unseen.
        let served = rocket::listening(rocket, ready).launch().await;
        served.map(drop).map_err(|error| anyhow!("Rocket does not start: {error}"))
    }
}
