//! The proof of DPoP (RFC 9449): a JWT by which a client proves its key for one request.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::base64url;
use crate::device::proof::{ProofError, Unverified};
use crate::ids::DeviceId;
use crate::sealer::Sealer;
use crate::time::{Millis, Timestamp};

/// The time for which a proof may be sent after its nonce was issued. Within it a copied proof can be sent again, for the
/// same method, URL and token.
pub const DPOP_NONCE_LIFE: Millis = Millis::from_secs(120);

/// The request that a DPoP proof must be for.
#[derive(Debug, Clone, Copy)]
pub struct DpopRequest<'r> {
    /// The method, as it came.
    pub method: &'r str,
    /// The path, as it came. A query after it does not matter.
    pub path: &'r str,
    /// Our origins as clients see them, in lower case and without a default port: `https://api.example.org`. What the
    /// request says of its host is not asked.
    pub origins: &'r [String],
    /// The text of the token, or `None` if the request presents none.
    pub token: Option<&'r [u8]>,
}

/// A verified DPoP proof tells these of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DpopProven {
    /// The key that signed, as a token carries it.
    pub device: DeviceId,
    /// When the nonce was issued: the proof was signed after that.
    pub since: Timestamp,
}

impl Sealer {
    /// Checks the DPoP proof of a request, as section 4.3 of RFC 9449 lists it, except that the server's nonce tells its
    /// age, and the client's clock does not matter. The nonce must be ours before a signature is verified.
    ///
    /// # Errors
    ///
    /// [`ProofError`] says why it is refused: [`Challenge`](ProofError::Challenge) or [`Stale`](ProofError::Stale) if
    /// the client needs another nonce.
    pub fn prove_possession(
        &self,
        proof: &[u8],
        request: &DpopRequest<'_>,
        now: Timestamp,
    ) -> Result<DpopProven, ProofError> {
        let unverified: Unverified<'_, Claims> = Unverified::parse(proof, TYPE)?;
        let (claims, key) = (&unverified.claims, unverified.jwk()?.key()?);
        if claims.jti.is_empty() {
            return Err(ProofError::Malformed);
        }
        let nonce = claims.nonce.as_deref().ok_or(ProofError::Stale)?;
        let issued_at = self.keyring().dpop_nonce_issued_at(nonce.as_bytes(), now, DPOP_NONCE_LIFE);
        let since = issued_at.map_err(ProofError::Challenge)?.ok_or(ProofError::Stale)?;
        if claims.htm != request.method {
            return Err(ProofError::Method);
        }
        if !is_target(&claims.htu, request) {
            return Err(ProofError::Target);
        }
        // A proof for a token is none for a request without one, such as a login.
        if claims.ath != request.token.map(|token| base64url::encode(&Sha256::digest(token))) {
            return Err(ProofError::Token);
        }
        unverified.verify(&key, self.aead())?;
        Ok(DpopProven { device: key.id(), since })
    }
}

const TYPE: &str = "dpop+jwt";

#[derive(Deserialize)]
struct Claims {
    /// Must be there, and is not kept: the nonce limits how long a proof can be replayed.
    jti: String,
    htm: String,
    htu: String,
    /// Must be there, and is not compared: a client whose clock is wrong may log in too.
    #[serde(rename = "iat")]
    _iat: f64,
    ath: Option<String>,
    nonce: Option<String>,
}

/// Returns `true` if this is the request's URL at one of our origins, after the normalization of RFC 3986, sections
/// 6.2.2 and 6.2.3. Query and fragment do not count. Dot segments are compared as they are.
fn is_target(url: &str, request: &DpopRequest<'_>) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let default_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    let origin = format!("{scheme}://{}", authority.strip_suffix(default_port).unwrap_or(&authority));
    request.origins.contains(&origin) && normalized(path) == normalized(request.path)
}

/// Returns a path without query and fragment. Percent-encodings of unreserved characters are decoded, and others are in
/// upper case.
fn normalized(path: &str) -> Vec<u8> {
    let path = path.split(['?', '#']).next().unwrap_or_default().as_bytes();
    if path.is_empty() {
        return b"/".to_vec();
    }
    let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut normalized, mut at) = (Vec::with_capacity(path.len()), 0);
    while let Some(&byte) = path.get(at) {
        let encoded = if byte == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
        match encoded.map(|(high, low)| u8::try_from(high * 16 + low).unwrap_or_default()) {
            Some(decoded) if decoded.is_ascii_alphanumeric() || b"-._~".contains(&decoded) => normalized.push(decoded),
            Some(_) => normalized.extend(path[at..at + 3].to_ascii_uppercase()),
            None => normalized.push(byte),
        }
        at += if encoded.is_some() { 3 } else { 1 };
    }
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_ours_whatever_its_spelling_and_no_other_is() {
        let origins = ["https://api.example.org".to_owned(), "http://localhost:3000".to_owned()];
        let request = DpopRequest { method: "GET", path: "/a%2fb/%7Ec?q", origins: &origins, token: None };
        for (url, expected) in [
            ("https://api.example.org/a%2Fb/~c", true),
            ("HTTPS://API.Example.org:443/%61%2fb/~c?x#y", true),
            ("http://localhost:3000/a%2Fb/%7ec", true),
            ("https://api.example.org/a/b/~c", false),
            ("https://api.example.org/A%2Fb/~c", false),
            ("https://api.example.org/a%2Fb/~c/", false),
            ("http://api.example.org/a%2Fb/~c", false),
            ("https://api.example.org:80/a%2Fb/~c", false),
            ("https://user@api.example.org/a%2Fb/~c", false),
            ("https://api.example.org.evil.example/a%2Fb/~c", false),
            ("https://api.example.org", false),
            ("/a%2Fb/~c", false),
            ("", false),
        ] {
            assert_eq!(is_target(url, &request), expected, "{url}");
        }
        let root = DpopRequest { path: "/", ..request };
        assert!(is_target("https://api.example.org", &root) && is_target("https://api.example.org?x", &root));
        assert_eq!(normalized("/%"), b"/%");
        assert_eq!(normalized("/%4"), b"/%4");
        assert_eq!(normalized("/%zz"), b"/%zz");
    }
}
