//! Ours on Axum, where the handlers are those of tower-sessions.

use std::sync::Arc;

use anyhow::Result;
use secure_sessions_axum::{Aead, SessionLayer};
use secure_sessions_tower_sessions::v0_15::TowerSessionsLayer;

use super::application::Application;
use super::ours::{Setting, manager_counting};
use super::peers::tower_sessions_routes;
use super::{Calls, Case, Framework, Kind};

/// Ours, with the defaults, under the `Session` of tower-sessions.
pub const SHIM: &str = "secure-sessions, tower-sessions' API";

/// The same, with tokens remembered after they were opened.
pub const SHIM_REMEMBERING: &str = "secure-sessions, remembering, tower-sessions' API";

const DEFAULTS: Setting = (SHIM, |builder| builder);
const REMEMBERING: Setting = (SHIM_REMEMBERING, |builder| builder.aead(Aead::Ring).remember_tokens(10_000));

pub(super) async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let usual = [Kind::Unseen, Kind::Anonymous, Kind::Read, Kind::Write].map(|kind| (kind, DEFAULTS));
    for (kind, setting) in usual.into_iter().chain([(Kind::Read, REMEMBERING)]) {
        let calls = counted.then(Arc::<Calls>::default);
        let (manager, passing) = manager_counting(calls.as_ref(), kind, setting)?;
        let routes = tower_sessions_routes().layer((SessionLayer::new(manager), TowerSessionsLayer::new()));
        let case = Case::new(Framework::Axum, kind, setting.0, Application::axum(routes)).await?;
        cases.push(Case { calls, passing, ..case });
    }
    Ok(cases)
}
