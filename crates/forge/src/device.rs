//! A browser's part of a device-bound session, with a software key: it signs what Chromium would sign, and anything
//! else.
//!
//! The stamped texts of the server are written here a second time, as the rest of the format is.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};

use crate::{base64url, derive, hmac, key_id};

/// A device with a P-256 key.
#[derive(Clone)]
pub struct Device(SigningKey);

impl Device {
    /// Makes the device whose private key is this number, big-endian.
    ///
    /// # Panics
    ///
    /// If it is zero, or not below the order of the curve.
    #[must_use]
    pub fn new(private_key: &[u8; 32]) -> Self {
        Self(SigningKey::from_slice(private_key).expect("a private key of P-256"))
    }

    /// Returns both coordinates of the public key.
    ///
    /// # Panics
    ///
    /// Never: a public key has both.
    #[must_use]
    pub fn public_key(&self) -> [u8; 64] {
        let point = self.0.verifying_key().to_sec1_point(false);
        point.as_bytes()[1..].try_into().expect("two coordinates of 32 bytes")
    }

    /// Returns the hash of the public key that a token carries.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        device_id(&self.public_key())
    }

    /// Returns the public key as a JWK.
    #[must_use]
    pub fn jwk(&self) -> String {
        let key = self.public_key();
        let (x, y) = (base64url(&key[..32]), base64url(&key[32..]));
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
    }

    /// Signs the proof of a registration, as Chromium does.
    #[must_use]
    pub fn registration(&self, challenge: &str, authorization: &str) -> String {
        let header = format!(r#"{{"alg":"ES256","jwk":{},"typ":"dbsc+jwt"}}"#, self.jwk());
        self.sign(&header, &format!(r#"{{"authorization":"{authorization}","jti":"{challenge}"}}"#))
    }

    /// Signs the proof of a refresh, as Chromium does.
    #[must_use]
    pub fn refresh(&self, challenge: &str) -> String {
        self.sign(r#"{"alg":"ES256","typ":"dbsc+jwt"}"#, &format!(r#"{{"jti":"{challenge}"}}"#))
    }

    /// Signs the DPoP proof (RFC 9449) of a request with this token, or without one.
    #[must_use]
    pub fn dpop(&self, method: &str, url: &str, nonce: &str, token: Option<&str>) -> String {
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{}}}"#, self.jwk());
        self.sign(&header, &dpop_claims(method, url, nonce, token.map(str::as_bytes)))
    }

    /// Signs any header and any claims, which need make no sense.
    #[must_use]
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let signature: Signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", base64url(&signature.to_bytes()))
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Device(..)")
    }
}

/// Writes the claims of a DPoP proof.
#[must_use]
pub fn dpop_claims(method: &str, url: &str, nonce: &str, token: Option<&[u8]>) -> String {
    let ath = token.map(|token| format!(r#","ath":"{}""#, base64url(&Sha256::digest(token)))).unwrap_or_default();
    let claims = r#""jti":"-BwC3ESc6acc2lTc","iat":1562262616"#;
    format!(r#"{{{claims},"htm":"{method}","htu":"{url}","nonce":"{nonce}"{ath}}}"#)
}

/// Computes the hash of a public key that a token carries.
///
/// # Panics
///
/// Never: a hash has 32 bytes.
#[must_use]
pub fn device_id(public_key: &[u8; 64]) -> [u8; 16] {
    let hash = Sha256::digest([&[1], &public_key[..]].concat());
    hash[..16].try_into().expect("half of it")
}

/// Computes the stamp of these fields, which takes the fingerprint key.
///
/// # Panics
///
/// If the purpose is longer than 255 bytes.
#[must_use]
pub fn stamp(fingerprint_key: &[u8; 32], purpose: &str, fields: &[u8]) -> Vec<u8> {
    let length = u8::try_from(purpose.len()).expect("at most 255 bytes");
    let mac = hmac(&derive(fingerprint_key, "device"), &[&[length], purpose.as_bytes(), fields].concat());
    [&key_id(fingerprint_key)[..], &mac[..16]].concat()
}

/// Makes a ticket, which takes the fingerprint key.
#[must_use]
pub fn ticket(fingerprint_key: &[u8; 32], not_after: u64, device: &[u8; 16], handle: &[u8; 16]) -> String {
    let fields = [&not_after.to_be_bytes()[..], device, handle].concat();
    base64url(&[&fields[..], &stamp(fingerprint_key, "ticket", &fields)].concat())
}

/// Makes an identifier, which takes the fingerprint key.
#[must_use]
pub fn identifier(fingerprint_key: &[u8; 32], handle: &[u8; 16], public_key: &[u8; 64]) -> String {
    let fields = [&[1][..], handle, public_key].concat();
    base64url(&[&fields[..], &stamp(fingerprint_key, "identifier", &fields)].concat())
}

/// Makes a challenge for a session's handle (`registration`) or a device (`refresh`), which takes the fingerprint key.
#[must_use]
pub fn challenge(fingerprint_key: &[u8; 32], purpose: &str, issued_at: u64, of: &[u8; 16]) -> String {
    let issued_at = issued_at.to_be_bytes();
    base64url(&[&issued_at[..], &stamp(fingerprint_key, purpose, &[&issued_at[..], of].concat())].concat())
}
