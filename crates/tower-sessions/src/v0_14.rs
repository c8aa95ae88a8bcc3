//! For tower-sessions 0.14, which axum-login 0.18, axum-messages 0.8 and axum-oidc 0.6 use.

use tower_sessions_core_0_14 as tower_sessions_core;

version!();
