//! Logout tokens, by OpenID Connect Back-Channel Logout 1.0, section 2.6. The crate `openidconnect` verifies their
//! signature. It reads ID tokens only, so the form and the claims are checked here.

use std::collections::HashMap;

use base64_simd::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey, JsonWebKeyId, JsonWebTokenType};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::provider::Provider;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Never add `none`, nor `HS256` and its like: anyone who knows a shared secret can sign. Better, keep only the one that
/// you registered as `id_token_signed_response_alg`.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 4] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Older providers send the second, or none. If yours sends the first, accept that alone, as OWASP ASVS 5.0 asks for in
/// 10.5.5.
const TYPES: [&str; 2] = ["application/logout+jwt", "application/jwt"];

/// The provider's clock and this one may differ by so many seconds.
pub(crate) const LEEWAY: u64 = 60;

/// The provider's word that someone has logged out there.
#[derive(Debug, Clone)]
pub(crate) struct LogoutToken {
    /// Names this token.
    pub(crate) id: String,
    pub(crate) whom: Whom,
    /// In seconds since 1970, as is `expires_at`.
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
}

/// The sessions that end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whom {
    /// Those that began with this session of the provider.
    Session(String),
    /// All sessions of this user.
    Subject(String),
}

/// A logout token that is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("the token is not three parts in base64url, divided by dots")]
    Parts,
    #[error("the token's header or its claims are not as they must be: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the token's header has members that must be understood, and are not (`crit`)")]
    Critical,
    #[error("the token is not signed, or by an algorithm that is not accepted")]
    Algorithm,
    #[error("the token is of another type than `logout+jwt`")]
    Type,
    #[error("the token is another issuer's")]
    Issuer,
    #[error("the token is for another client")]
    Audience,
    #[error("the token was issued in the future: at {issued_at}, and it is {now}")]
    Early { issued_at: u64, now: u64 },
    #[error("the token has expired: at {expires_at}, and it is {now}")]
    Expired { expires_at: u64, now: u64 },
    #[error("the token's events have no object `{EVENT}`")]
    Event,
    #[error("the token has a nonce, as ID tokens have")]
    Nonce,
    #[error("the token names neither a session (`sid`) nor a subject (`sub`)")]
    Nobody,
    #[error("no key of the provider's has signed the token")]
    Signature,
    #[error("the token was sent before")]
    Replayed,
}

/// A token whose claims are good, if the provider has signed it.
pub(crate) struct Unverified {
    token: LogoutToken,
    header: Header,
    message: String,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: CoreJwsSigningAlgorithm,
    kid: Option<JsonWebKeyId>,
    typ: Option<JsonWebTokenType>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: u64,
    exp: u64,
    jti: String,
    events: HashMap<String, Value>,
    sub: Option<String>,
    sid: Option<String>,
    nonce: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Unverified {
    /// Checks all that needs no key, so that junk makes nobody fetch any.
    pub(crate) fn read(text: &str, provider: &Provider, now: u64) -> Result<Self, Invalid> {
        let (message, signature) = text.rsplit_once('.').ok_or(Invalid::Parts)?;
        let (header, claims) = message.split_once('.').ok_or(Invalid::Parts)?;
        let (header, claims): (Header, Claims) = (part(header)?, part(claims)?);
        header.check()?;
        let token = claims.check(provider, now)?;
        Ok(Self { token, header, message: message.to_owned(), signature: decoded(signature)? })
    }

    /// Returns the token if one of the keys has signed it. `openidconnect` checks that the key is for the algorithm.
    pub(crate) fn verify(&self, keys: &CoreJsonWebKeySet) -> Option<&LogoutToken> {
        let Header { alg, kid, .. } = &self.header;
        let mut named = keys.keys().iter().filter(|key| kid.is_none() || kid.as_ref() == key.key_id());
        let signed = named.any(|key| key.verify_signature(alg, self.message.as_bytes(), &self.signature).is_ok());
        signed.then_some(&self.token)
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, Invalid> {
    Ok(serde_json::from_slice(&decoded(text)?)?)
}

fn decoded(text: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode_to_vec(text).map_err(|_| Invalid::Parts)
}

impl Header {
    fn check(&self) -> Result<(), Invalid> {
        if self.crit.is_some() {
            return Err(Invalid::Critical);
        }
        if !ALGORITHMS.contains(&self.alg) {
            return Err(Invalid::Algorithm);
        }
        let known = |typ: &JsonWebTokenType| typ.normalize().is_ok_and(|typ| TYPES.contains(&typ.as_str()));
        self.typ.as_ref().is_none_or(known).then_some(()).ok_or(Invalid::Type)
    }
}

impl Claims {
    fn check(self, provider: &Provider, now: u64) -> Result<LogoutToken, Invalid> {
        let Self { iss, aud, iat: issued_at, exp: expires_at, jti, events, sub, sid, nonce } = self;
        if iss != *provider.issuer {
            return Err(Invalid::Issuer);
        }
        let client = provider.client_id.as_str();
        match aud {
            Audience::One(aud) if aud == client => {}
            Audience::Several(aud) if aud.iter().any(|aud| aud == client) => {}
            _ => return Err(Invalid::Audience),
        }
        if issued_at > now + LEEWAY {
            return Err(Invalid::Early { issued_at, now });
        }
        if expires_at.saturating_add(LEEWAY) <= now {
            return Err(Invalid::Expired { expires_at, now });
        }
        if !events.get(EVENT).is_some_and(Value::is_object) {
            return Err(Invalid::Event);
        }
        if nonce.is_some() {
            return Err(Invalid::Nonce);
        }
        let whom = sid.map(Whom::Session).or(sub.map(Whom::Subject)).ok_or(Invalid::Nobody)?;
        Ok(LogoutToken { id: jti, whom, issued_at, expires_at })
    }
}
