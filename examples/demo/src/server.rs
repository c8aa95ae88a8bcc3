//! Puts the demo together: keys, store, session managers, routes and headers.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum_extra::extract::cookie::Key;
use browser::Front;
use secure_sessions_axum::{
    BuildError, DeviceBound, DeviceLayer, EngineError, Metrics, PurgeHandle, SessionLayer, SessionManager, SqlStore,
    StoreError,
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::{GovernorError, GovernorLayer};
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use crate::config::{Config, DATABASE_VARIABLE, PORT_VARIABLE};
use crate::error::{AppError, session_error};
use crate::events::EventRing;
use crate::format::FormatError;
use crate::keys::{KeyFile, KeysError};
use crate::lab::attacks::forge::Leaked;
use crate::lab::probe::{OUR_COOKIE, Probe, Side};
use crate::lab::target::{ours, peer};
use crate::lab::{Lab, LabError};
use crate::lockout::Lockout;
use crate::pages::{admin, binding, cart, health, home, lab, login, preferences, sessions, step_up};
use crate::private::{self, PrivateError};
use crate::rows::Database;
use crate::second_factor::{SecondFactor, SecondFactorError};
use crate::shutdown::Stopping;
use crate::telemetry::{Exporter, TelemetryError};
use crate::users::{HashError, Users};
use crate::visitor::COOKIE_LIMIT;

/// The grace of the lab's target: short, so that nobody waits for a minute to see a replay refused.
const LAB_GRACE: Duration = Duration::from_millis(400);
/// The most bytes of a form.
const BODY_LIMIT: usize = 64 * 1024;
/// Attempts to log in that one address may make at once, and how often another is allowed.
const ATTEMPTS_AT_ONCE: u32 = 30;
const ATTEMPT_EVERY: Duration = Duration::from_secs(2);
/// The number of events that are kept of each session manager.
const KEPT_EVENTS: usize = 4096;

/// The time for which open connections may hold up the shutdown.
const CONNECTIONS_END_WITHIN: Duration = Duration::from_secs(5);

/// Scripts, styles and images from here, forms to here, no frames, and nothing else.
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The demo, listening, and not yet serving.
pub struct Server {
    listener: TcpListener,
    /// In front of the listener, with `HTTPS=1`.
    front: Option<Front>,
    router: Router,
    managers: [SessionManager; 2],
    stop: watch::Sender<()>,
    stopping: Stopping,
    purge: PurgeHandle,
    exporter: Option<Exporter>,
}

/// The reason why the demo cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The port is taken, or forbidden.
    #[error("cannot listen on port {port}: {source}; name another one in {PORT_VARIABLE}")]
    Listen {
        /// The port.
        port: u16,
        /// The reason.
        source: io::Error,
    },
    /// The metrics.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The database's file.
    #[error("the database ({DATABASE_VARIABLE}): {0}")]
    Private(#[from] PrivateError),
    /// The session store. Its `Debug` names the causes.
    #[error("the database ({DATABASE_VARIABLE}): {0:?}")]
    Store(#[from] StoreError),
    /// The session managers.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The passwords.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The second factors.
    #[error(transparent)]
    SecondFactor(#[from] SecondFactorError),
    /// The rate limit's numbers.
    #[error("the rate limit of the login needs a period and a burst above zero")]
    RateLimit,
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The lab's view of the database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Server {
    /// Opens the database, reads or makes the keys, and listens.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is in the way.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let port = config.port;
        let listen = |source| StartError::Listen { port, source };
        // TLS is taken off in front of the server, as a proxy does it.
        let plain_port = if config.https { 0 } else { port };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, plain_port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let front = match config.https {
            true => Some(Front::start(port, address).await.map_err(listen)?),
            false => None,
        };

        // First: what is described and counted before the recorder is there is lost.
        let exporter = match config.metrics_port {
            Some(port) => Some(Exporter::start(port).await?),
            None => None,
        };
        let keys = KeyFile::open_or_create(config.keys())?;
        let keyring = keys.keyring().map_err(KeysError::from)?;
        let leaked = keys.active().ok_or(KeysError::Format(FormatError::Key))?;
        // The store would make a file that every user can read.
        private::file(&config.database)?;
        let store = SqlStore::connect(&config.database_url()).await?;
        let (events, lab_events) = (EventRing::new(KEPT_EVENTS), EventRing::new(KEPT_EVENTS));
        let builder = SessionManager::builder(keyring.clone(), store.clone());
        let builder = match config.https {
            true => builder
                .cookie_name("__Host-demo")
                .device_bound(DeviceBound::new().ticket_life(binding::TICKET_LIFE).exclude("/static")),
            false => builder.insecure_dev().cookie_name("demo"),
        };
        let mut builder = builder.size_limit(COOKIE_LIMIT).observer(events.clone());
        if let Some(clock) = &config.clock {
            builder = builder.clock(clock.clone());
        }
        if exporter.is_some() {
            builder = builder.observer(Metrics::new());
        }
        let sessions = builder.build()?;
        let targets = SessionManager::builder(keyring, store.clone())
            .insecure_dev()
            .cookie_name(OUR_COOKIE)
            .grace(LAB_GRACE)
            .observer(lab_events.clone())
            .build()?;

        let (users, peer_key) = (Users::hash()?, Key::generate());
        let lab = Lab::new(
            Probe::new(format!("http://{address}"), lab_events)?,
            Leaked { ours: leaked, peer: peer_key.clone() },
            read_only(config).await?,
            LAB_GRACE,
        );
        let (stop, stopping) = Stopping::new();
        let app = App {
            users: users.clone(),
            sessions: sessions.clone(),
            events,
            keys,
            wrong_passwords: Lockout::default(),
            wrong_codes: Lockout::default(),
            second_factor: SecondFactor::new()?,
            lab,
            commands: front.as_ref().map(|front| ["victim", "thief"].map(|name| binding::chromium(front, name))),
            clock: config.clock.clone(),
            stopping: stopping.clone(),
        };
        let managers = [sessions.clone(), targets.clone()];
        let purge = sessions.spawn_purge();
        let router = pages(app)?
            .layer(SessionLayer::new(sessions).on_error(|error: &EngineError, _: &Parts| session_error(error)))
            .nest(Side::Ours.mount(), ours::router(users.clone(), targets))
            .nest(Side::Peer.mount(), peer::router(users, peer_key))
            .merge(files());
        // Outside of everything that may refuse a request: an answer such as 403 or 429 would end the binding.
        let router = guarded(router).layer(DeviceLayer::new(managers[0].clone()));
        Ok(Self { listener, front, router, managers, stop, stopping, purge, exporter })
    }

    /// Returns the address that it listens at, over plain http.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns where a browser finds it: an origin.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the system does not say.
    pub fn origin(&self) -> io::Result<String> {
        match &self.front {
            Some(front) => Ok(front.origin("localhost")),
            None => Ok(format!("http://{}", self.address()?)),
        }
    }

    /// Returns what takes TLS off in front of the server, with `HTTPS=1`.
    #[must_use]
    pub fn front(&self) -> Option<&Front> {
        self.front.as_ref()
    }

    /// Returns the address of the metrics; `None` if none are kept.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the system does not say.
    pub fn metrics_address(&self) -> io::Result<Option<SocketAddr>> {
        self.exporter.as_ref().map(Exporter::address).transpose()
    }

    /// Serves until `shutdown` is ready, and then waits for what is under way: for connections a limited time, because a
    /// browser may keep one open without a request, and for commits without a limit.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the socket fails.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        // The address is what logins are limited by.
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        let stop = self.stop;
        if let Some(exporter) = self.exporter {
            let stopping = self.stopping.clone();
            tokio::spawn(async move {
                // The pages go on without their metrics.
                if let Err(error) = exporter.serve(stopping).await {
                    tracing::error!("metrics: {error}");
                }
            });
        }
        let serving = axum::serve(self.listener, service).with_graceful_shutdown(async move {
            shutdown.await;
            drop(stop);
        });
        let overdue = async {
            self.stopping.wait().await;
            tokio::time::sleep(CONNECTIONS_END_WITHIN).await;
        };
        tokio::select! {
            served = serving => served?,
            () = overdue => tracing::warn!("connections were still open after {CONNECTIONS_END_WITHIN:?}"),
        }
        // A client that hung up may have left a commit behind, such as a logout.
        for manager in self.managers {
            manager.drained().await;
        }
        self.purge.stop().await;
        Ok(())
    }
}

fn pages(app: App) -> Result<Router, StartError> {
    // One limit for both: each attempt counts, right or wrong.
    let limit = GovernorConfigBuilder::default().period(ATTEMPT_EVERY).burst_size(ATTEMPTS_AT_ONCE).finish();
    let limit = GovernorLayer::new(limit.ok_or(StartError::RateLimit)?).error_handler(|error| match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            AppError::TooMany(Duration::from_secs(wait_time)).into_response()
        }
        error => AppError::Background(error.to_string()).into_response(),
    });
    let attempts =
        Router::new().route("/login", post(login::log_in)).route("/step-up", post(step_up::step_up)).route_layer(limit);
    let pages = Router::new()
        .route("/", get(home::show))
        .route("/login", get(login::show))
        .route("/step-up", get(step_up::show))
        .route("/sessions", get(sessions::show))
        .route("/sessions/revoke", post(sessions::revoke))
        .route("/sessions/revoke-others", post(sessions::revoke_others))
        .route("/sessions/logout-everywhere", post(sessions::log_out_everywhere))
        .route("/admin", get(admin::show))
        .route("/admin/drill", post(admin::drill))
        .route("/admin/revoke", post(admin::revoke))
        .route("/admin/events", get(admin::events))
        .route("/logout", post(login::log_out))
        .route("/cart", get(cart::show))
        .route("/cart/add", post(cart::add))
        .route("/cart/set", post(cart::set))
        .route("/cart/note", post(cart::note))
        .route("/cart/overfill", post(cart::overfill))
        .route("/preferences", get(preferences::show).post(preferences::save))
        .route("/device", get(binding::show))
        .route("/device/thief", get(binding::thief).post(binding::use_stolen))
        .route("/lab", get(lab::show))
        .route("/lab/{attack}", get(lab::attack).post(lab::run))
        .route("/lab/{attack}/{run}", get(lab::report))
        .route("/healthz", get(health::show))
        .fallback(async || AppError::NotFound)
        .merge(attempts)
        .with_state(app);
    Ok(pages)
}

/// The files that are not templates, compiled in.
fn files() -> Router {
    let file = |kind: &'static str, content: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], content).into_response() })
    };
    Router::new()
        .route("/static/style.css", file("text/css; charset=utf-8", include_str!("../static/style.css")))
        .route("/static/demo.js", file("text/javascript; charset=utf-8", include_str!("../static/demo.js")))
        .route("/static/icon.svg", file("image/svg+xml", include_str!("../static/icon.svg")))
}

/// Protects every page in other ways than by its session.
fn guarded(router: Router) -> Router {
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
    };
    router
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        // Forms carry their session's token; this refuses what comes from another site before it is looked at.
        .layer(CsrfLayer::new())
        .layer(header(CONTENT_SECURITY_POLICY, CONTENT_SECURITY))
        .layer(header(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(REFERRER_POLICY, "same-origin"))
}

/// The lab looks at the database as somebody with a copy would: it cannot write.
async fn read_only(config: &Config) -> Result<Database, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(&config.database).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    Ok(Database::new(pool, config.database.clone()))
}
