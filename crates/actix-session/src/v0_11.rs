//! For actix-session 0.11, which actix-identity 0.9 uses.

use actix_session_0_11 as actix_session;

version!();
