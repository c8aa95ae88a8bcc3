#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod cross_origin;
mod csrf;
mod device;
mod fairing;
mod guard;
mod headers;

pub use secure_sessions;
#[doc(inline)]
pub use secure_sessions::exports::*;

pub use self::access::{Allowed, CsrfForm, CsrfFormError, LoggedIn, MaybeLoggedIn, Subject, TypedOrDefault, Untouched};
pub use self::cross_origin::{CrossOriginFairing, SameOrigin};
pub use self::csrf::CsrfSession;
pub use self::fairing::SessionFairing;
pub use self::guard::{OptionalSession, SessionExt};

secure_sessions::adapter_types!();
