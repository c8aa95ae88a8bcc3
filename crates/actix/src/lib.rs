#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod cross_origin;
mod csrf;
mod extract;
mod headers;
mod middleware;

pub use secure_sessions;
#[doc(inline)]
pub use secure_sessions::exports::*;

pub use self::access::{Allowed, CsrfForm, LoggedIn, MaybeLoggedIn, Subject, TypedOrDefault, Untouched};
pub use self::cross_origin::{CrossOriginFuture, CrossOriginMiddleware, CrossOriginService};
pub use self::csrf::CsrfSession;
pub use self::extract::{OptionalSession, SessionExt};
pub use self::middleware::{ResponseFuture, SessionMiddleware, SessionService};

secure_sessions::adapter_types!();
