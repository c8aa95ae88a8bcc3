//! A session at an identity provider, by which the sessions that came from it end together.

use core::fmt;

use sha2::{Digest, Sha256};

use super::MetaError;
use crate::format::{MAX_PROVIDER_LEN, PROVIDER_LABEL, PROVIDER_SESSION_LEN};

/// A session at an identity provider: a digest of the provider's issuer (`iss`) and its name for the session (`sid`).
///
/// A token carries the digest, and the bucket a keyed tag of it. The tag is computed anew with each token, so it follows a
/// change of the fingerprint key.
///
/// ```
/// use secure_sessions_core::ProviderSession;
///
/// let session = ProviderSession::new("https://login.example", "08a5019c-17e1-4977-8f42-65a12843ea02")?;
/// assert_ne!(session, ProviderSession::new("https://login.example", "another")?);
/// # Ok::<_, secure_sessions_core::MetaError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProviderSession([u8; PROVIDER_SESSION_LEN]);

impl ProviderSession {
    /// Names the session `sid` of the provider `issuer`, both exactly as the ID token spells them.
    ///
    /// # Errors
    ///
    /// [`MetaError::ProviderEmpty`] or [`MetaError::ProviderTooLong`] (more than [`MAX_PROVIDER_LEN`] bytes) names the claim.
    pub fn new(issuer: &str, sid: &str) -> Result<Self, MetaError> {
        for (claim, text) in [("iss", issuer), ("sid", sid)] {
            match text.len() {
                0 => return Err(MetaError::ProviderEmpty { claim }),
                length if length > MAX_PROVIDER_LEN => return Err(MetaError::ProviderTooLong { claim, length }),
                _ => {}
            }
        }
        // Its limit makes it fit. The length tells where the one ends and the other begins.
        let length = u16::try_from(issuer.len()).unwrap_or(u16::MAX);
        let hash = Sha256::new()
            .chain_update(PROVIDER_LABEL)
            .chain_update(length.to_be_bytes())
            .chain_update(issuer)
            .chain_update(sid)
            .finalize();
        let mut digest = [0; PROVIDER_SESSION_LEN];
        digest.copy_from_slice(&hash[..PROVIDER_SESSION_LEN]);
        Ok(Self(digest))
    }

    /// Wraps the digest as a token carries it.
    #[must_use]
    pub const fn from_bytes(digest: [u8; PROVIDER_SESSION_LEN]) -> Self {
        Self(digest)
    }

    /// Returns the digest, as a token carries it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PROVIDER_SESSION_LEN] {
        &self.0
    }
}

impl fmt::Debug for ProviderSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderSession(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_no_other_pair_with_the_same_characters() {
        let named = |issuer, sid| ProviderSession::new(issuer, sid).expect("a session");
        assert_eq!(named("https://a", "1"), named("https://a", "1"));
        for (issuer, sid) in [("https://", "a1"), ("https://a1", "x"), ("1", "https://a"), ("https://b", "1")] {
            assert_ne!(named("https://a", "1"), named(issuer, sid), "{issuer} {sid}");
        }
        assert_eq!(format!("{:?}", named("https://a", "1")), "ProviderSession(..)");
    }

    #[test]
    fn a_claim_that_is_empty_or_too_long_is_refused_by_name_with_both_lengths() {
        let longest = "x".repeat(MAX_PROVIDER_LEN);
        assert!(ProviderSession::new(&longest, &longest).is_ok());
        let longer = "x".repeat(MAX_PROVIDER_LEN + 1);
        for (issuer, sid, claim) in [("", "1", "iss"), ("https://a", "", "sid")] {
            assert_eq!(ProviderSession::new(issuer, sid), Err(MetaError::ProviderEmpty { claim }));
        }
        for (issuer, sid, claim) in [(longer.as_str(), "1", "iss"), ("https://a", longer.as_str(), "sid")] {
            let error = ProviderSession::new(issuer, sid).expect_err("too long");
            assert_eq!(error, MetaError::ProviderTooLong { claim, length: 2049 });
            let text = error.to_string();
            assert!(text.contains("2049") && text.contains("2048") && text.contains(claim), "{text}");
        }
    }
}
