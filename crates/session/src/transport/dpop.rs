//! The binding of bearer tokens to a client's key, as configured: DPoP (RFC 9449).

use secure_sessions_core::Aead;

use crate::config::build_error::BuildError;
use crate::event::origin::Origin;

/// Our origins as clients see them, checked.
#[derive(Debug)]
pub(crate) struct Dpop {
    #[cfg_attr(not(feature = "device"), allow(dead_code, reason = "the check of proofs reads it"))]
    pub(crate) origins: Vec<String>,
}

impl Dpop {
    /// Checks the setting. `bearer` says that bearer tokens are on.
    pub(crate) fn new(origins: &[String], aead: Aead, bearer: bool) -> Result<Self, BuildError> {
        let refuse = |problem| Err(BuildError::Dpop { problem });
        if !bearer {
            return refuse("it binds bearer tokens, and they are off; call `bearer()` too");
        }
        // Each request costs a verified signature: 50 us by `ring`, and 300 us otherwise.
        if aead == Aead::RustCrypto {
            return refuse(
                "it verifies a signature with every request, which needs `ring`: turn on its feature, and call `aead(Aead::Ring)`",
            );
        }
        if origins.is_empty() {
            return refuse("it needs the origins that clients send requests to, such as `https://api.example.org`");
        }
        let origins: Result<_, _> =
            origins.iter().map(|text| text.parse().map(|origin: Origin| origin.to_string())).collect();
        match origins {
            Ok(origins) => Ok(Self { origins }),
            Err(_) => {
                refuse("an origin is a scheme and a host, without a path or a slash at the end: `https://example.org`")
            }
        }
    }
}
