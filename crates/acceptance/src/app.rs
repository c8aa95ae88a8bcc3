//! The state that all routes share: the manager, the watched store, the clock, the counters. It also starts a server.

use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use secure_sessions::{AuditFile, AuditLog, CrossOrigin, MemoryStore, SessionManager};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use crate::clock::ShiftedClock;
use crate::config::{self, ConfigError};
use crate::gate::Gate;
use crate::observe::Recorder;
use crate::query::Query;
use crate::store::{self, WatchedStore};

/// The state that all routes share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// For the adapter's layer, middleware or fairing.
    pub manager: SessionManager,
    /// Set to `true` if the routes under `/extra` are mounted.
    pub extra: bool,
    /// Set to `true` if `/admin/fault` is mounted.
    pub faults: bool,
    /// Set to `true` if session errors become responses of the application's own: `ON_ERROR=1`.
    pub on_error: bool,
    /// Asked about every request, if the environment says so.
    pub cross_origin: Option<CrossOrigin>,
    pub(crate) store: WatchedStore,
    pub(crate) clock: ShiftedClock,
    recorder: Recorder,
    pub(crate) gate: Gate,
}

impl App {
    /// Builds everything that the environment describes.
    ///
    /// # Errors
    ///
    /// Says which variable is wrong, or what the builder refused.
    pub async fn from_env() -> Result<Self, ConfigError> {
        let url = config::text("STORE")?.unwrap_or_else(|| "memory:".to_owned());
        let write_json = match config::text("EVENTS")?.as_deref() {
            None => false,
            Some("json") => true,
            Some(other) => return Err(format!("EVENTS={other}: expected json")),
        };
        let gate = Gate::default();
        let timeout = config::parsed("STORE_TIMEOUT_MS")?.map(Duration::from_millis);
        let store = WatchedStore::new(store::open(&url, timeout).await?, gate.clone());
        let clock = ShiftedClock::new(config::parsed("CLOCK_OFFSET_MS")?.unwrap_or_default());
        let recorder = Recorder::new(write_json);
        let builder = SessionManager::builder(config::keyring()?, store.clone());
        #[cfg(feature = "ring")]
        let builder = builder.aead(secure_sessions::Aead::Ring);
        let mut builder = config::configure(builder.clock(clock.clone()).observer(recorder.clone()))?;
        if config::flag("VAULT")?.unwrap_or_default() {
            builder = builder.vault(MemoryStore::new());
        }
        if let Some(bytes) = config::parsed("SPILL_OVER")? {
            builder = builder.spill_over(bytes);
        }
        if let Some(path) = config::text("AUDIT")? {
            let file = AuditFile::append_to(&path).map_err(|error| format!("AUDIT={path}: {error}"))?;
            let audit = AuditLog::builder(file).application("acceptance").start();
            builder = builder.observer(audit.map_err(|error| error.to_string())?);
        }
        let manager = builder.build().map_err(|error| error.to_string())?;
        let cross_origin = config::cross_origin(&manager)?;
        let app = Self {
            manager,
            cross_origin,
            extra: config::flag("EXTRA")?.unwrap_or_default(),
            faults: config::flag("FAULTS")?.unwrap_or_default(),
            on_error: config::flag("ON_ERROR")?.unwrap_or_default(),
            store,
            clock,
            recorder,
            gate,
        };
        if let Some(interval) = config::parsed("PURGE_MS")? {
            app.purge_every(Duration::from_millis(interval));
        }
        if let (Some(path), Some(interval)) = (config::text("KEY_FILE")?, config::parsed("KEY_WATCH_MS")?) {
            app.manager.watch_key_file(path, Duration::from_millis(interval)).detach();
        }
        Ok(app)
    }

    /// The counters of `/metrics`.
    pub async fn metrics(&self) -> Value {
        json!({
            "events": self.recorder.counts(),
            "store_calls": self.store.calls(),
            "live": self.store.live().await,
        })
    }

    /// Holds a request whose session was loaded: for `load_ms`, and with `gate=load` until the gate is opened.
    pub async fn loaded(&self, query: &Query) {
        self.hold(query, "load", "load_ms").await;
    }

    /// Holds a request whose work is done: for `reply_ms`, and with `gate=reply` until the gate is opened.
    pub async fn before_reply(&self, query: &Query) {
        self.hold(query, "reply", "reply_ms").await;
    }

    async fn hold(&self, query: &Query, gate: &str, millis: &str) {
        if self.extra && query.first("gate") == Some(gate) {
            self.gate.wait().await;
        }
        sleep(query.number(millis)).await;
    }
}

pub(crate) async fn sleep(millis: u64) {
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// Runs a server until it is killed: builds the app, binds `PORT`, and says where it listens.
///
/// `serve` gets the app and a bound listener that does not block.
pub fn run<F>(serve: impl FnOnce(App, TcpListener) -> F) -> ExitCode
where
    F: Future<Output = std::io::Result<()>>,
{
    run_unbound(|app, port| async move {
        let listener = listen(port)?;
        announce(listener.local_addr().map_err(|error| error.to_string())?)?;
        serve(app, listener).await.map_err(|error| error.to_string())
    })
}

/// As [`run`], for a framework that binds the port itself: `serve` gets `PORT`, and calls [`announce`] when it listens.
pub fn run_unbound<F>(serve: impl FnOnce(App, u16) -> F) -> ExitCode
where
    F: Future<Output = Result<(), ConfigError>>,
{
    let outcome = runtime().and_then(|runtime| {
        runtime.block_on(async {
            log()?;
            let app = App::from_env().await?;
            serve(app, config::parsed("PORT")?.unwrap_or_default()).await
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ConfigError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config::parsed::<usize>("THREADS")? {
        builder.worker_threads(threads.max(1));
    }
    builder.enable_all().build().map_err(|error| error.to_string())
}

/// `LOG=trace` (or another level) writes the log to standard error.
fn log() -> Result<(), ConfigError> {
    if let Some(level) = config::parsed::<LevelFilter>("LOG")? {
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(std::io::stderr).init();
    }
    Ok(())
}

fn listen(port: u16) -> Result<TcpListener, ConfigError> {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .map_err(|error| format!("PORT={port}: {error}; name another one, or 0 for any that is free"))?;
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    Ok(listener)
}

/// Says where the server listens.
///
/// # Errors
///
/// If standard output is closed.
pub fn announce(address: SocketAddr) -> Result<(), ConfigError> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "listening on http://{address}").and_then(|()| output.flush()).map_err(|error| error.to_string())
}
