//! Proofs of devices, and of DPoP: JWTs whose members, keys, challenges and signatures are right or arbitrary, in any
//! mixture.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use forge::device::Device;
use libfuzzer_sys::fuzz_target;
use secure_sessions_core::format::MAX_PROOF_LEN;
use secure_sessions_core::{
    DPOP_NONCE_LIFE, DeviceIdentifier, DeviceKey, DevicePolicy, DpopRequest, Handle, Millis, ProofError, SessionId,
    Timestamp,
};
use secure_sessions_fuzz::sealer;

const POLICY: DevicePolicy = DevicePolicy { ticket_life: Millis::from_secs(600), grace: Millis::from_secs(60) };
const NOW: u64 = 1_750_000_000_000;
/// The greatest age of a challenge, and the most by which it may be ahead of this host's clock.
const OLDEST: u64 = 660_000;
const AHEAD: u64 = 60_000;

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    refresh: bool,
    alg: Choice<'a>,
    typ: Choice<'a>,
    jwk: Jwk<'a>,
    jti: Challenge<'a>,
    authorization: Choice<'a>,
    /// More members of the header and of the claims, as JSON or not.
    more: [&'a str; 2],
    signer: Whose,
    /// Bytes of the finished text to change.
    edits: Vec<(u16, u8)>,
    /// The claims of a DPoP proof instead.
    dpop: Option<Dpop<'a>>,
}

/// The claims of a DPoP proof, and the request's own path and token.
#[derive(Arbitrary, Debug)]
struct Dpop<'a> {
    htm: Choice<'a>,
    htu: Choice<'a>,
    ath: Choice<'a>,
    path: &'a str,
    token: Option<&'a [u8]>,
    /// A nonce so many milliseconds before now or after it, or any text.
    nonce: Result<i32, &'a str>,
}

/// The right text, or some other.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Choice<'a> {
    Right,
    Text(&'a str),
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq)]
enum Whose {
    Ours,
    Another,
}

#[derive(Arbitrary, Debug)]
enum Jwk<'a> {
    Absent,
    Of(Whose),
    Point(&'a [u8], &'a [u8]),
    Json(&'a str),
}

#[derive(Arbitrary, Debug)]
enum Challenge<'a> {
    /// One of ours for what is asked, so many milliseconds before now or after it.
    Right(i32),
    /// One of ours for another session or device, or for the other purpose.
    Elsewhere,
    Misused,
    Text(&'a str),
}

static DEVICES: LazyLock<[Device; 2]> = LazyLock::new(|| [Device::new(&[0x0d; 32]), Device::new(&[0x1d; 32])]);

impl Whose {
    fn device(self) -> &'static Device {
        &DEVICES[self as usize]
    }

    fn key(self) -> DeviceKey {
        DeviceKey::from_bytes(self.device().public_key())
    }
}

impl<'a> Choice<'a> {
    fn or(self, right: &'a str) -> &'a str {
        match self {
            Self::Right => right,
            Self::Text(text) => text,
        }
    }
}

fuzz_target!(|case: Case<'_>| {
    if let Some(dpop) = &case.dpop {
        return possession(&case, dpop);
    }
    let now = Timestamp::from_millis(NOW);
    let handle = handle(7);
    let name = handle.to_string();
    let (alg, typ) = (case.alg.or("ES256"), case.typ.or("dbsc+jwt"));
    let authorization = case.authorization.or(&name);
    let (jti, fresh) = challenge(&case, handle);

    let mut header = format!(r#"{{"alg":{},"typ":{}"#, json(alg), json(typ));
    let jwk = match &case.jwk {
        Jwk::Absent => None,
        Jwk::Of(whose) => Some(whose.device().jwk()),
        Jwk::Point(x, y) => {
            let (x, y) = (forge::base64url(x), forge::base64url(y));
            Some(format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#))
        }
        Jwk::Json(text) => Some((*text).to_owned()),
    };
    if let Some(jwk) = &jwk {
        header.push_str(&format!(r#","jwk":{jwk}"#));
    }
    let mut claims = format!(r#"{{"jti":{}"#, json(&jti));
    if !case.refresh {
        claims.push_str(&format!(r#","authorization":{}"#, json(authorization)));
    }
    for (part, more) in [&mut header, &mut claims].into_iter().zip(case.more) {
        part.push_str(more);
        part.push('}');
    }
    // A signature takes long, and is not looked at before everything else is right.
    let text = if alg == "ES256" && typ == "dbsc+jwt" && fresh {
        case.signer.device().sign(&header, &claims)
    } else {
        [header.as_bytes(), claims.as_bytes(), &[0; 64]].map(forge::base64url).join(".")
    };
    let mut proof = text.clone().into_bytes();
    for (at, byte) in &case.edits {
        let at = usize::from(*at) % proof.len();
        proof[at] = *byte;
    }

    let key = if case.refresh { Whose::Ours.key() } else { case.signer.key() };
    let identifier = DeviceIdentifier { key, handle: Some(handle) };
    let verdict = if case.refresh {
        sealer().prove_device(&proof, &identifier, now, &POLICY).map(|()| identifier)
    } else {
        sealer().register_device(&proof, now, &POLICY)
    };
    let members = alg == "ES256" && typ == "dbsc+jwt" && fresh && (case.refresh || authorization == name);
    match verdict {
        Ok(proven) => {
            assert!(members, "accepted with a wrong member");
            assert_eq!(proof, text.as_bytes(), "accepted although it was changed after it was signed");
            assert!(proven == identifier, "another key or session than the one that signed");
            assert!(!case.refresh || case.signer == Whose::Ours, "accepted the signature of another device");
        }
        Err(error) => {
            let own_key = match &case.jwk {
                Jwk::Absent => case.refresh && case.signer == Whose::Ours,
                Jwk::Of(whose) => !case.refresh && *whose == case.signer,
                _ => false,
            };
            let plain = case.more == ["", ""] && proof == text.as_bytes();
            assert!(!(members && own_key && plain), "refused what Chromium would send: {error}");
            // No signature fits a text that was not signed, and none is looked at where the challenge is not ours.
            assert!(
                error != ProofError::Signature || fresh,
                "a signature was verified for a challenge that is not ours"
            );
        }
    }
});

/// Checks a proof of DPoP: only one whose every claim is right is accepted, and as that of its signer.
fn possession(case: &Case<'_>, dpop: &Dpop<'_>) {
    const ORIGIN: &str = "https://api.example.org";
    let now = Timestamp::from_millis(NOW);
    let (nonce, fresh) = match dpop.nonce {
        Ok(offset) => {
            let at = NOW.saturating_add_signed(offset.into());
            let fresh = (NOW - DPOP_NONCE_LIFE.get()..=NOW + AHEAD).contains(&at);
            (sealer().keyring().dpop_nonce(Timestamp::from_millis(at)), fresh)
        }
        Err(text) => (text.to_owned(), false),
    };
    let (alg, typ) = (case.alg.or("ES256"), case.typ.or("dpop+jwt"));
    let target = format!("{ORIGIN}/{}", dpop.path.split(['?', '#']).next().unwrap_or_default());
    let right = dpop.token.map(|token| {
        let claims = forge::device::dpop_claims("", "", "", Some(token));
        claims.split('"').rev().nth(1).unwrap_or_default().to_owned()
    });
    let (htm, htu) = (dpop.htm.or("GET"), dpop.htu.or(&target));
    let ath = right.as_deref().map(|right| dpop.ath.or(right));
    let header = format!(r#"{{"alg":{},"typ":{},"jwk":{}}}"#, json(alg), json(typ), case.signer.device().jwk());
    let claims = [("htm", htm), ("htu", htu), ("nonce", &nonce)].into_iter().chain(ath.map(|ath| ("ath", ath)));
    let claims: String = claims.map(|(name, text)| format!(r#","{name}":{}"#, json(text))).collect();
    let text = case.signer.device().sign(&header, &format!(r#"{{"jti":"a","iat":1{claims}}}"#));
    let mut proof = text.clone().into_bytes();
    for (at, byte) in &case.edits {
        let at = usize::from(*at) % proof.len();
        proof[at] = *byte;
    }
    let path = format!("/{}", dpop.path);
    let request = DpopRequest { method: "GET", path: &path, origins: &[ORIGIN.to_owned()], token: dpop.token };
    let verdict = sealer().prove_possession(&proof, &request, now);
    let members = alg == "ES256" && typ == "dpop+jwt" && htm == "GET" && fresh && ath == right.as_deref();
    match verdict {
        Ok(proven) => {
            assert!(members, "accepted with a wrong member");
            assert_eq!(proof, text.as_bytes(), "accepted although it was changed after it was signed");
            assert!(proven.device == case.signer.key().id(), "another key than the one that signed");
        }
        Err(error) => {
            let plain = matches!(dpop.htu, Choice::Right) && proof == text.as_bytes() && text.len() <= MAX_PROOF_LEN;
            assert!(!(members && plain), "refused what a client would send: {error}");
        }
    }
}

/// The challenge, and whether it is one that may be answered now.
fn challenge(case: &Case<'_>, ours: Handle) -> (String, bool) {
    let ring = sealer().keyring();
    let device = Whose::Ours.key().id();
    let make = |refresh: bool, handle, device, at| {
        let at = Timestamp::from_millis(at);
        if refresh { ring.refresh_challenge(device, at) } else { ring.registration_challenge(handle, at) }
    };
    match case.jti {
        Challenge::Right(offset) => {
            let at = NOW.saturating_add_signed(offset.into());
            let fresh = (NOW - OLDEST..=NOW + AHEAD).contains(&at);
            (make(case.refresh, ours, device, at), fresh)
        }
        Challenge::Elsewhere => (make(case.refresh, handle(8), Whose::Another.key().id(), NOW), false),
        Challenge::Misused => (make(!case.refresh, ours, device, NOW), false),
        Challenge::Text(text) => (text.to_owned(), false),
    }
}

fn handle(session: u8) -> Handle {
    sealer().keyring().handle(&SessionId::from_bytes([session; 16]))
}

/// The text as a JSON string.
fn json(text: &str) -> String {
    let mut string = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => string.extend(['\\', c]),
            c if c < ' ' => string.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => string.push(c),
        }
    }
    string.push('"');
    string
}
