//! A collector that keeps what it is sent.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::*;

#[derive(Clone, Default)]
struct Collector {
    metrics: Arc<Mutex<BTreeSet<(String, String)>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        let metrics = scopes.flat_map(|scope| scope.metrics).map(|metric| (metric.name, metric.unit));
        self.metrics.lock().expect("no panic").extend(metrics);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        let lines = scopes.flat_map(|scope| scope.log_records).map(|record| format!("{record:?}"));
        self.lines.lock().expect("no panic").extend(lines);
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_the_metrics_and_the_log_lines_of_sessions() {
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(
        Server::builder()
            .add_service(MetricsServiceServer::new(collector.clone()))
            .add_service(LogsServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let telemetry = Telemetry::start(&endpoint).expect("the way to the collector");

    let sessions = manager().expect("a manager");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let page = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, app(sessions.clone())).into_future());
    assert_eq!(reqwest::get(page).await.expect("an answer").status().as_u16(), 200);
    sessions.health().await;
    telemetry.stop().await.expect("all is sent");

    let names: Vec<(String, String)> = collector.metrics.lock().expect("no panic").iter().cloned().collect();
    for name in [
        "secure_sessions_events_total",
        "secure_sessions_store_call_duration_seconds",
        "secure_sessions_commit_tries",
        "secure_sessions_healthy",
    ] {
        assert!(names.iter().any(|(found, _)| found == name), "{name} is not among {names:?}");
    }
    assert!(names.contains(&("secure_sessions_store_call_duration_seconds".to_owned(), "s".to_owned())), "{names:?}");
    let lines = collector.lines.lock().expect("no panic");
    assert!(lines.iter().any(|line| line.contains("a session was made") && line.contains("created")), "{lines:?}");
}
