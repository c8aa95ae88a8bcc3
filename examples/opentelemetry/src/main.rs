//! A page that counts visits, whose sessions report to an OpenTelemetry collector by OTLP over gRPC:
//! `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 cargo run -p opentelemetry-sessions`.
//!
//! Metrics go through the facade `metrics`, log lines through `tracing`, so the sessions know nothing of OpenTelemetry.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use metrics::KeyName;
use metrics_exporter_otel::OpenTelemetryRecorder;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use secure_sessions_axum::{Keyring, MemoryStore, Metrics, Session, SessionError, SessionLayer, SessionManager};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4317";
/// Without the exporter's own libraries: what they log would be sent, and sending it would be logged.
const FILTER: &str = "info,h2=off,hyper=off,hyper_util=off,opentelemetry=off,tonic=off,tower=off";

/// The way to the collector.
struct Telemetry {
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
}

impl Telemetry {
    /// Installs the process's recorder of metrics and its subscriber of log lines. Do it before the manager is built.
    fn start(endpoint: &str) -> Result<Self, Box<dyn Error>> {
        let resource = Resource::builder().with_service_name("shop").build();

        let exporter = MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        let metrics =
            SdkMeterProvider::builder().with_periodic_exporter(exporter).with_resource(resource.clone()).build();
        let recorder = OpenTelemetryRecorder::new(metrics.meter("secure-sessions"));
        for (name, bounds) in [
            ("secure_sessions_store_call_duration_seconds", Metrics::STORE_CALL_BUCKETS),
            ("secure_sessions_commit_tries", Metrics::COMMIT_TRIES_BUCKETS),
        ] {
            recorder.set_histogram_bounds(&KeyName::from(name), bounds.to_vec());
        }
        metrics::set_global_recorder(recorder)?;

        let exporter = LogExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        let logs = SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
        tracing_subscriber::registry().with(filter).with(OpenTelemetryTracingBridge::new(&logs)).try_init()?;
        Ok(Self { metrics, logs })
    }

    /// Sends what is left.
    async fn stop(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        // It waits for the collector, and must not hold up the runtime that sends.
        tokio::task::spawn_blocking(move || {
            self.logs.shutdown()?;
            self.metrics.shutdown()?;
            Ok(())
        })
        .await?
    }
}

async fn visit(session: Session) -> Result<String, SessionError> {
    let visits = session.update("visits", |visits: &mut u64| {
        *visits += 1;
        *visits
    })?;
    Ok(format!("This is visit number {visits}.\n"))
}

fn app(sessions: SessionManager) -> Router {
    Router::new().route("/", get(visit)).layer(SessionLayer::new(sessions))
}

fn manager() -> Result<SessionManager, Box<dyn Error>> {
    let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new());
    Ok(builder.insecure_dev().observer(Metrics::new()).build()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|_| DEFAULT_ENDPOINT.to_owned());
    let telemetry = Telemetry::start(&endpoint)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{} reports to {endpoint}", listener.local_addr()?);
    let stopped = async {
        // Without a handler it runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    axum::serve(listener, app(manager()?)).with_graceful_shutdown(stopped).await?;
    telemetry.stop().await.map_err(|error| error as Box<dyn Error>)
}

#[cfg(test)]
mod tests;
