//! For tower-sessions 0.15.

use tower_sessions_core_0_15 as tower_sessions_core;

version!();
