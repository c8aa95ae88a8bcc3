//! For actix-session 0.10, which actix-web-flash-messages 0.5 uses.

use actix_session_0_10 as actix_session;

version!();
