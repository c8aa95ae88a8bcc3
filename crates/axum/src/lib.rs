#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
mod access;
mod cross_origin;
#[cfg(feature = "axum")]
mod csrf;
mod device;
mod ext;
#[cfg(feature = "axum")]
mod extract;
mod headers;
mod layer;

pub use secure_sessions;
#[doc(inline)]
pub use secure_sessions::exports::*;

#[cfg(feature = "axum")]
pub use self::access::{
    Allowed, CsrfForm, CsrfFormRejection, LoggedIn, MaybeLoggedIn, Subject, TypedOrDefault, Untouched,
};
pub use self::cross_origin::{
    CrossOriginFuture, CrossOriginLayer, CrossOriginService, DefaultRefusal, RefusalResponse,
};
#[cfg(feature = "axum")]
pub use self::csrf::CsrfSession;
pub use self::device::{DeviceFuture, DeviceLayer, DeviceService};
pub use self::ext::SessionExt;
pub use self::headers::ClientAddress;
pub use self::layer::{DefaultErrorResponse, ErrorResponse, ResponseFuture, SessionLayer, SessionService};

secure_sessions::adapter_types!();
