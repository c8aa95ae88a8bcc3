//! Makes the frozen vectors: the same ones each time.

mod devices;
mod foreign;
mod handoffs;
mod negatives;
mod tokens;
mod vaults;

use std::collections::BTreeMap;

use secure_sessions_core::{FingerprintKey, SealKey, SessionId};
use serde::Serialize;

use super::random::{Replay, Stream};
use super::vectors::{File, KeyCase, Keys, TagCase};
use super::{hex, raw};

const COOKIE: &str = "__Host-session";
const ISSUED_AT: u64 = 1_750_000_000_000;
const EXPIRES_AT: u64 = ISSUED_AT + 8 * 60 * 60 * 1000;

/// Name and text of every file.
pub(crate) fn files() -> Vec<(&'static str, String)> {
    vec![
        ("keys.json", file("Keys, their ids and every subkey (HKDF-SHA256).", key_cases())),
        ("token.json", file("Tokens with all that went into them; each opens and is admitted.", tokens::cases())),
        ("handoff.json", file("Handoffs; each gives its token, or is refused.", handoffs::cases())),
        ("tags.json", file("Tags, handles, CSRF tokens, labels and bindings of a fingerprint key.", tag_cases())),
        ("device.json", file("Devices, their stamped texts and proofs.", devices::cases())),
        ("data.json", file("Data maps of other writers, each with what a reader finds in it.", foreign::cases())),
        ("vault.json", file("Private values with their references and blobs.", vaults::cases())),
        ("negative.json", file("Cookie values that are refused, each with the reason.", negatives::cases())),
    ]
}

fn file<C: Serialize>(about: &str, cases: Vec<C>) -> String {
    let file = File { about: about.to_owned(), cases };
    serde_json::to_string_pretty(&file).expect("serialises") + "\n"
}

fn key(label: &str) -> [u8; 32] {
    Stream::new(&format!("secure-sessions test vectors, key {label}")).bytes()
}

fn seal_text(label: &str) -> String {
    SealKey::from_bytes(key(label)).to_text().to_string()
}

fn fingerprint_text(label: &str) -> String {
    FingerprintKey::from_bytes(key(label)).to_text().to_string()
}

/// A ring of the keys with these labels.
fn keys(seal: &[&str], fingerprint: &[&str]) -> Keys {
    Keys {
        seal: seal.iter().map(|label| seal_text(label)).collect(),
        fingerprint: fingerprint.iter().map(|label| fingerprint_text(label)).collect(),
        compromised: Vec::new(),
    }
}

fn key_cases() -> Vec<KeyCase> {
    let subkeys = |bytes: &[u8; 32], labels: &[&str]| -> BTreeMap<String, String> {
        labels.iter().map(|label| ((*label).to_owned(), hex::encode(&raw::derive::<32>(bytes, label)))).collect()
    };
    let mut cases = Vec::new();
    for label in ["seal 1", "seal 2"] {
        let bytes = key(label);
        cases.push(KeyCase {
            key: seal_text(label),
            bytes: hex::encode(&bytes),
            id: SealKey::from_bytes(bytes).id().to_string(),
            subkeys: subkeys(&bytes, &["seal", "mark", "handoff"]),
        });
    }
    for label in ["fingerprint 1", "fingerprint 2"] {
        let bytes = key(label);
        cases.push(KeyCase {
            key: fingerprint_text(label),
            bytes: hex::encode(&bytes),
            id: FingerprintKey::from_bytes(bytes).id().to_string(),
            subkeys: subkeys(
                &bytes,
                &["fingerprint", "subject", "group", "csrf", "label", "handle", "binding", "device"],
            ),
        });
    }
    cases
}

fn tag_cases() -> Vec<TagCase> {
    let mut cases = Vec::new();
    let (issuer, sid) = ("https://login.example", "08a5019c-17e1-4977");
    for (label, subject, text, (issuer, sid)) in [
        ("fingerprint 1", "alice", "Firefox on Debian", (issuer, sid)),
        ("fingerprint 2", "alice", "", (issuer, sid)),
        ("fingerprint 1", "Zoë \u{1f512}", "Büro \u{1f5a5}", ("https://login.exampl", "e08a5019c-17e1-4977")),
        ("fingerprint 1", "", "no subject has an empty name, its tag is defined all the same", ("Zoë", "\u{1f512}")),
    ] {
        let provider_session = raw::provider_session(issuer, sid);
        let mut random = Stream::new(&format!("secure-sessions test vectors, tags {label} {subject}"));
        let id = SessionId::random(&mut random).expect("random");
        let ring = keys(&["seal 1"], &[label]).ring();
        let mask: [u8; 32] = random.bytes();
        let nonce: [u8; 24] = random.bytes();
        cases.push(TagCase {
            key: fingerprint_text(label),
            session_id: hex::encode(id.as_bytes()),
            subject: subject.to_owned(),
            context: COOKIE.to_owned(),
            subject_tag: hex::encode(&raw::subject_tag(&key(label), COOKIE, subject)),
            issuer: issuer.to_owned(),
            sid: sid.to_owned(),
            provider_session: hex::encode(&provider_session),
            group_tag: hex::encode(&raw::group_tag(&key(label), COOKIE, &provider_session)),
            handle: ring.handle(&id).to_string(),
            csrf_secret: hex::encode(&raw::hmac(&raw::derive(&key(label), "csrf"), id.as_bytes())),
            csrf_mask: hex::encode(&mask),
            csrf_token: ring.csrf_token(&id, &mut Replay(&mask)).expect("32 bytes"),
            label: text.to_owned(),
            label_nonce: hex::encode(&nonce),
            label_sealed: hex::encode(&ring.seal_label(&id, text, &mut Replay(&nonce)).expect("24 bytes")),
            binding: hex::encode(&ring.bind(&id, text.as_bytes())),
        });
    }
    cases
}
