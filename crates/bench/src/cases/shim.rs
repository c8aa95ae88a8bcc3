//! Ours on Axum, where the handlers are those of tower-sessions.

use std::sync::Arc;

use anyhow::Result;
use secure_sessions_axum::SessionLayer;
use secure_sessions_tower_sessions::v0_15::TowerSessionsLayer;

use super::application::Application;
use super::ours::manager_counting;
use super::peers::tower_sessions_routes;
use super::{Calls, Case, Framework, Kind};

/// Ours, with the defaults, under the `Session` of tower-sessions.
pub const SHIM: &str = "secure-sessions, tower-sessions' API";

pub(super) async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for kind in [Kind::Unseen, Kind::Anonymous, Kind::Read, Kind::Write] {
        let calls = counted.then(Arc::<Calls>::default);
        let (manager, passing) = manager_counting(calls.as_ref(), kind, (SHIM, |builder| builder))?;
        let routes = tower_sessions_routes().layer(TowerSessionsLayer::new()).layer(SessionLayer::new(manager));
        let case = Case::new(Framework::Axum, kind, SHIM, Application::axum(routes)).await?;
        cases.push(Case { calls, passing, ..case });
    }
    Ok(cases)
}
