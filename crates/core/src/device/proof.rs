//! The proof of a device: a JWT (RFC 7519) that a browser signs for us, by ES256 alone.
//!
//! It is parsed strictly, and its challenge must be ours before any signature is verified. The key of a registration
//! comes in the proof itself; that of a refresh comes from the [identifier](DeviceIdentifier), and a proof that brings
//! one is refused.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::aead::Aead;
use crate::base64url;
use crate::device::identifier::DeviceIdentifier;
use crate::device::key::DeviceKey;
use crate::device::policy::DevicePolicy;
use crate::device::stamp::StampError;
use crate::format::{DEVICE_KEY_LEN, MAX_PROOF_LEN};
use crate::ids::Handle;
use crate::sealer::Sealer;
use crate::time::Timestamp;

/// The reason why a device's proof is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The proof is longer than [`MAX_PROOF_LEN`].
    #[error("the proof has {length} characters, more than {MAX_PROOF_LEN}")]
    TooLong {
        /// The length in characters.
        length: usize,
    },
    /// The proof is not three parts of canonical base64url, two JSON objects and a signature of 64 bytes.
    #[error("the proof is not a JWT: three parts of canonical base64url, two JSON objects and a signature of 64 bytes")]
    Malformed,
    /// The type in the header is not `dbsc+jwt`, or `dpop+jwt` for DPoP.
    #[error("the proof's type is not `dbsc+jwt`, or `dpop+jwt` for DPoP")]
    Type,
    /// The algorithm in the header is not ES256.
    #[error("the proof's algorithm is not `ES256`, the only one that is accepted")]
    Algorithm,
    /// The header lists critical extensions, and we know none.
    #[error("the proof has critical extensions, which are not known")]
    Critical,
    /// The proof of a registration, or of DPoP, has no public key.
    #[error("the proof has no public key")]
    KeyMissing,
    /// The proof of a refresh brings a public key.
    #[error("the proof of a refresh brings a public key, which only a registration may")]
    KeyUnwanted,
    /// The public key is not a point of the curve P-256 in its one canonical spelling, or comes with the private key.
    #[error("the proof's public key is not a point of P-256, or comes with the private key")]
    Key,
    /// The proof names no session in `authorization`.
    #[error("the proof of a registration names no session")]
    Session,
    /// The challenge is not one of ours, or was issued for another session or device.
    #[error("the proof's challenge: {0}")]
    Challenge(StampError),
    /// The challenge is ours, and too old.
    #[error("the proof's challenge is too old")]
    Stale,
    /// The DPoP proof is for another method.
    #[error("the proof is for another method than the request's")]
    Method,
    /// The DPoP proof is for another URL: see [`DpopRequest`](crate::DpopRequest).
    #[error("the proof is for another URL than the request's, or for an origin that is not ours")]
    Target,
    /// The DPoP proof is for another token, or for none.
    #[error("the proof is for another token than the request's, or for none")]
    Token,
    /// The signature is not the key's.
    #[error("the proof's signature is not that of its key")]
    Signature,
}

impl ProofError {
    /// Returns the reason in one word, for a counter's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Malformed => "malformed",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::KeyMissing => "key_missing",
            Self::KeyUnwanted => "key_unwanted",
            Self::Key => "key",
            Self::Session => "session",
            Self::Challenge(_) => "challenge",
            Self::Stale => "stale",
            Self::Method => "method",
            Self::Target => "target",
            Self::Token => "token",
            Self::Signature => "signature",
        }
    }
}

impl Sealer {
    /// Checks the proof of a browser that registers a device, and returns the key and the session that it registers
    /// for.
    ///
    /// # Errors
    ///
    /// [`ProofError`] says why it is refused.
    pub fn register_device(
        &self,
        proof: &[u8],
        now: Timestamp,
        policy: &DevicePolicy,
    ) -> Result<DeviceIdentifier, ProofError> {
        let unverified: Unverified<'_, Claims> = Unverified::parse(proof, TYPE)?;
        let jwk = unverified.jwk()?;
        let handle: Handle = match unverified.claims.authorization.as_deref().map(str::parse) {
            Some(Ok(handle)) => handle,
            _ => return Err(ProofError::Session),
        };
        let challenge = unverified.claims.jti.as_bytes();
        fresh(self.keyring().is_registration_challenge(challenge, handle, now, policy))?;
        let key = jwk.key()?;
        unverified.verify(&key, self.aead())?;
        Ok(DeviceIdentifier { key, handle: Some(handle) })
    }

    /// Checks the proof that a device has the key of its identifier.
    ///
    /// # Errors
    ///
    /// [`ProofError`] says why it is refused.
    pub fn prove_device(
        &self,
        proof: &[u8],
        identifier: &DeviceIdentifier,
        now: Timestamp,
        policy: &DevicePolicy,
    ) -> Result<(), ProofError> {
        let unverified: Unverified<'_, Claims> = Unverified::parse(proof, TYPE)?;
        if unverified.header.jwk.is_some() {
            return Err(ProofError::KeyUnwanted);
        }
        let challenge = unverified.claims.jti.as_bytes();
        fresh(self.keyring().is_refresh_challenge(challenge, identifier.key.id(), now, policy))?;
        unverified.verify(&identifier.key, self.aead())
    }
}

fn fresh(challenge: Result<bool, StampError>) -> Result<(), ProofError> {
    match challenge {
        Ok(true) => Ok(()),
        Ok(false) => Err(ProofError::Stale),
        Err(error) => Err(ProofError::Challenge(error)),
    }
}

/// A proof whose form is right, and whose signature is not verified yet.
pub(super) struct Unverified<'t, C> {
    header: Header,
    pub(super) claims: C,
    /// The text that is signed: both parts before the signature, as they came.
    signed: &'t [u8],
    signature: [u8; SIGNATURE_LEN],
}

const TYPE: &str = "dbsc+jwt";
const ALGORITHM: &str = "ES256";
const SIGNATURE_LEN: usize = 64;
const COORDINATE_LEN: usize = DEVICE_KEY_LEN / 2;

/// A JOSE header (RFC 7515, section 4). Members that it does not list are ignored, and one that comes twice is refused.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    jwk: Option<Jwk>,
    crit: Option<IgnoredAny>,
}

/// A public key (RFC 7518, section 6.2).
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private key.
    d: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    authorization: Option<String>,
}

impl<'t, C: DeserializeOwned> Unverified<'t, C> {
    /// Parses a proof whose header must name this type.
    pub(super) fn parse(proof: &'t [u8], typ: &str) -> Result<Self, ProofError> {
        if proof.len() > MAX_PROOF_LEN {
            return Err(ProofError::TooLong { length: proof.len() });
        }
        let mut parts = proof.split(|byte| *byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ProofError::Malformed);
        };
        let signed = &proof[..header.len() + 1 + claims.len()];
        let header: Header = object(header)?;
        if header.typ != typ {
            return Err(ProofError::Type);
        }
        if header.alg != ALGORITHM {
            return Err(ProofError::Algorithm);
        }
        if header.crit.is_some() {
            return Err(ProofError::Critical);
        }
        let claims = object(claims)?;
        let signature = base64url::decode(signature).map_err(|_| ProofError::Malformed)?;
        let signature = signature.as_slice().try_into().map_err(|_| ProofError::Malformed)?;
        Ok(Self { header, claims, signed, signature })
    }

    pub(super) fn jwk(&self) -> Result<&Jwk, ProofError> {
        self.header.jwk.as_ref().ok_or(ProofError::KeyMissing)
    }

    pub(super) fn verify(&self, key: &DeviceKey, provider: Aead) -> Result<(), ProofError> {
        // SEC 1, section 2.3.3: an uncompressed point.
        let mut point = [0x04; 1 + DEVICE_KEY_LEN];
        point[1..].copy_from_slice(key.as_bytes());
        match provider {
            Aead::RustCrypto => self.verify_by_rustcrypto(&point),
            #[cfg(feature = "ring")]
            Aead::Ring => self.verify_by_ring(&point),
        }
    }

    fn verify_by_rustcrypto(&self, point: &[u8]) -> Result<(), ProofError> {
        use p256::ecdsa::signature::Verifier;
        use p256::ecdsa::{Signature, VerifyingKey};

        let key = VerifyingKey::from_sec1_bytes(point).map_err(|_| ProofError::Key)?;
        let signature = Signature::from_slice(&self.signature).map_err(|_| ProofError::Signature)?;
        key.verify(self.signed, &signature).map_err(|_| ProofError::Signature)
    }

    /// A point that is not on the curve fails as a wrong signature does.
    #[cfg(feature = "ring")]
    fn verify_by_ring(&self, point: &[u8]) -> Result<(), ProofError> {
        use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(self.signed, &self.signature).map_err(|_| ProofError::Signature)
    }
}

impl Jwk {
    pub(super) fn key(&self) -> Result<DeviceKey, ProofError> {
        let coordinate = |text: &Option<String>| -> Option<[u8; COORDINATE_LEN]> {
            base64url::decode(text.as_ref()?.as_bytes()).ok()?.as_slice().try_into().ok()
        };
        if self.kty != "EC" || self.crv.as_deref() != Some("P-256") || self.d.is_some() {
            return Err(ProofError::Key);
        }
        let (Some(x), Some(y)) = (coordinate(&self.x), coordinate(&self.y)) else { return Err(ProofError::Key) };
        let mut key = [0; DEVICE_KEY_LEN];
        key[..COORDINATE_LEN].copy_from_slice(&x);
        key[COORDINATE_LEN..].copy_from_slice(&y);
        Ok(DeviceKey::from_bytes(key))
    }
}

/// Decodes one part of a JWT: a JSON object, and nothing after it.
fn object<T: DeserializeOwned>(part: &[u8]) -> Result<T, ProofError> {
    let json = base64url::decode(part).map_err(|_| ProofError::Malformed)?;
    // serde would also take an array for a struct.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(ProofError::Malformed);
    }
    serde_json::from_slice(&json).map_err(|_| ProofError::Malformed)
}
