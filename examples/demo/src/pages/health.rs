//! The probe of a load balancer.

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;

/// Says whether the sessions work. Strangers learn no more than that.
pub async fn show(State(app): State<App>) -> (StatusCode, &'static str) {
    let health = app.sessions.health().await;
    if !health.is_ready() {
        tracing::warn!("{health}");
    }
    (StatusCode::from_u16(health.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), health.public_text())
}
