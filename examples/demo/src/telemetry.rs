//! The metrics, for Prometheus: on a port of their own, which strangers do not reach.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use secure_sessions_axum::Metrics;
use tokio::net::TcpListener;

use crate::config::METRICS_PORT_VARIABLE;
use crate::shutdown::Stopping;

/// The time after which measurements are sorted into their buckets while nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

/// The reason why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The port is taken, or forbidden.
    #[error("cannot listen on port {port} for metrics: {source}; name another one in {METRICS_PORT_VARIABLE}")]
    Listen {
        /// The port.
        port: u16,
        /// The reason.
        source: io::Error,
    },
    /// The buckets are wrong, or the process has another recorder.
    #[error("metrics: {0}")]
    Recorder(String),
}

/// Answers `GET /metrics`.
pub struct Exporter {
    listener: TcpListener,
    recorded: PrometheusHandle,
}

impl Exporter {
    /// Listens, and installs the process's recorder. Do it before anything that reports metrics is made.
    ///
    /// # Errors
    ///
    /// [`TelemetryError`] says what is in the way.
    pub async fn start(port: u16) -> Result<Self, TelemetryError> {
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listening.map_err(|source| TelemetryError::Listen { port, source })?;
        Ok(Self { listener, recorded: recorder()? })
    }

    /// Returns the address that it listens at.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the demo stops.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the socket fails.
    pub async fn serve(self, stopping: Stopping) -> io::Result<()> {
        let recorded = self.recorded.clone();
        let router = Router::new().route("/metrics", get(move || async move { recorded.render() }));
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                self.recorded.run_upkeep();
            }
        };
        tokio::select! {
            served = axum::serve(self.listener, router).into_future() => served,
            () = upkeep => Ok(()),
            () = stopping.wait() => Ok(()),
        }
    }
}

/// The process has one recorder, however many servers its tests start.
fn recorder() -> Result<PrometheusHandle, TelemetryError> {
    static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    RECORDER.get_or_init(|| install().map_err(|error| error.to_string())).clone().map_err(TelemetryError::Recorder)
}

fn install() -> Result<PrometheusHandle, Box<dyn std::error::Error>> {
    let histogram = |name: &str| Matcher::Full(name.to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(histogram("secure_sessions_store_call_duration_seconds"), Metrics::STORE_CALL_BUCKETS)?
        .set_buckets_for_metric(histogram("secure_sessions_commit_tries"), Metrics::COMMIT_TRIES_BUCKETS)?
        .build_recorder();
    let recorded = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    Ok(recorded)
}
