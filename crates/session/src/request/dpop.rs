//! The key that a request proves by DPoP (RFC 9449), and the headers that ask its client for a proof.

use secure_sessions_core::{DeviceId, Millis, Timestamp};

use crate::adapter::head::RequestHead;
use crate::adapter::reply::RareHeaders;
use crate::error::SessionError;
use crate::event::Event;
use crate::manager::SessionManager;
use crate::request::device::Standing;
use crate::transport::dpop::Dpop;
use crate::transport::{self, Scheme, Transport};

/// The age from which on a response brings the next nonce along, so that a busy client never has to send twice.
const RENEWED_AFTER: Millis = Millis::from_secs(60);

/// The proof of possession that a request brings by DPoP.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Possession {
    /// The key, and since when its client certainly has it: the time of the nonce.
    proved: Option<(DeviceId, Timestamp)>,
    /// `true` if the token came under the scheme `DPoP`.
    by_dpop: bool,
}

/// The reason why a request is refused for its proof, before its session is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProofRefused {
    /// The client needs another nonce, as it does at first.
    #[cfg_attr(not(feature = "device"), allow(dead_code, reason = "only the check of a proof finds it"))]
    Nonce,
    /// The proof is missing or wrong, in one of a few fixed words.
    Invalid(&'static str),
}

impl Possession {
    /// Reads and checks the proof of a request. A request without one proves nothing, which is right as long as its
    /// token comes under the scheme `Bearer`.
    pub(crate) fn read(manager: &SessionManager, dpop: &Dpop, head: &dyn RequestHead) -> Result<Self, ProofRefused> {
        let (mut proofs, mut tokens, mut by_dpop) = (Vec::new(), Vec::new(), false);
        head.for_each_value("dpop", &mut |value| proofs.push(value.trim_ascii().to_vec()));
        transport::each_token(head, true, &mut |scheme, token| {
            by_dpop |= scheme == Scheme::Dpop;
            tokens.push(token.to_vec());
        });
        let proved = match (proofs.as_slice(), tokens.as_slice()) {
            ([], _) if by_dpop => return Err(ProofRefused::Invalid("proof_missing")),
            ([], _) => None,
            ([proof], [] | [_]) => Some(verify(manager, dpop, head, proof, tokens.first().map(Vec::as_slice))?),
            _ => return Err(ProofRefused::Invalid("malformed")),
        };
        Ok(Self { proved, by_dpop })
    }

    /// Returns how the request stands to a session that is bound to this key, or to none.
    ///
    /// A bound session needs the scheme `DPoP` with a proof of its key. An unbound one needs `Bearer`, so that a client
    /// never takes it for a bound one.
    pub(crate) fn standing(&self, device: Option<DeviceId>) -> Standing {
        match (device, self.proved) {
            (None, _) if !self.by_dpop => Standing::Unbound,
            (Some(device), Some((proved, at))) if self.by_dpop && device == proved => Standing::Bound { proved_at: at },
            (Some(_), Some(_)) if self.by_dpop => Standing::Mismatch,
            _ => Standing::Missing,
        }
    }

    /// Returns `true` if the client needs the next nonce soon.
    pub(crate) fn is_nonce_due(&self, now: Timestamp) -> bool {
        self.proved.is_some_and(|(_, since)| now > since.after(RENEWED_AFTER))
    }

    /// Returns the key that a login binds its session to.
    pub(crate) fn key(&self) -> Option<DeviceId> {
        self.proved.map(|(device, _)| device)
    }
}

#[cfg(feature = "device")]
fn verify(
    manager: &SessionManager,
    dpop: &Dpop,
    head: &dyn RequestHead,
    proof: &[u8],
    token: Option<&[u8]>,
) -> Result<(DeviceId, Timestamp), ProofRefused> {
    use secure_sessions_core::{DpopRequest, ProofError};

    let path = head.path().ok_or(ProofRefused::Invalid("target"))?;
    let request = DpopRequest { method: head.method(), path, origins: &dpop.origins, token };
    match manager.sealer(Transport::Bearer).prove_possession(proof, &request, manager.now()) {
        Ok(proven) => Ok((proven.device, proven.since)),
        Err(ProofError::Stale | ProofError::Challenge(_)) => Err(ProofRefused::Nonce),
        Err(error) => Err(ProofRefused::Invalid(error.reason())),
    }
}

#[cfg(not(feature = "device"))]
fn verify(
    _: &SessionManager,
    _: &Dpop,
    _: &dyn RequestHead,
    _: &[u8],
    _: Option<&[u8]>,
) -> Result<(DeviceId, Timestamp), ProofRefused> {
    Err(ProofRefused::Invalid("malformed"))
}

impl ProofRefused {
    /// Reports the refusal, unless only the nonce was too old.
    pub(crate) fn report(self, manager: &SessionManager) {
        if let Self::Invalid(reason) = self {
            manager.emit(&Event::DeviceEndpointRefused { reason });
        }
    }

    pub(crate) fn error(self) -> SessionError {
        let reason = match self {
            Self::Nonce => "nonce",
            Self::Invalid(reason) => reason,
        };
        SessionError::ProofRefused { reason }
    }

    /// Returns the headers of the response to a request that was refused.
    pub(crate) fn headers(self, manager: &SessionManager) -> RareHeaders {
        challenge(manager, Some(if self == Self::Nonce { "use_dpop_nonce" } else { "invalid_dpop_proof" }))
    }
}

/// Returns the headers that ask for a proof with a new nonce, and say what was wrong.
pub(crate) fn challenge(manager: &SessionManager, error: Option<&'static str>) -> RareHeaders {
    let error = error.map_or_else(String::new, |error| format!(r#"error="{error}", "#));
    RareHeaders { challenge: Some(format!(r#"DPoP {error}algs="ES256""#)), ..next_nonce(manager) }
}

/// Returns the header that brings the next nonce.
pub(crate) fn next_nonce(manager: &SessionManager) -> RareHeaders {
    let nonce = manager.sealer(Transport::Bearer).keyring().dpop_nonce(manager.now());
    RareHeaders { nonce: Some(nonce), ..RareHeaders::default() }
}
