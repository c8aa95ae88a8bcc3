//! Sessions bound to a device (Device Bound Session Credentials, and DPoP): keys, stamped texts, and the proofs of a browser.

mod challenge;
#[cfg(feature = "device")]
mod dpop;
mod identifier;
mod key;
mod policy;
#[cfg(feature = "device")]
mod proof;
mod stamp;
mod ticket;

#[cfg(feature = "device")]
#[cfg_attr(docsrs, doc(cfg(feature = "device")))]
pub use self::dpop::{DPOP_NONCE_LIFE, DpopProven, DpopRequest};
pub use self::identifier::DeviceIdentifier;
pub use self::key::DeviceKey;
pub use self::policy::DevicePolicy;
#[cfg(feature = "device")]
#[cfg_attr(docsrs, doc(cfg(feature = "device")))]
pub use self::proof::ProofError;
pub use self::stamp::StampError;
pub use self::ticket::DeviceTicket;
