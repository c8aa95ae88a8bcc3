//! The cases of `vault.json`.

use std::sync::Arc;

use secure_sessions_core::{HandoffKey, Sealer, Sizes, VaultId, encode_private};

use super::{COOKIE, keys};
use crate::support::hex;
use crate::support::random::{Replay, Stream};
use crate::support::vectors::{VaultCase, reference};

pub(super) fn cases() -> Vec<VaultCase> {
    let texts = [
        ("a short value", COOKIE, "a secret".to_owned()),
        ("a value that just fits its step", COOKIE, "x".repeat(253)),
        ("a byte more", COOKIE, "x".repeat(254)),
        ("the last of the fixed steps", COOKIE, "x".repeat(4093)),
        ("a value that Padmé rounds", COOKIE, "x".repeat(9000)),
        ("the context of a header", "bearer:authorization", "a secret".to_owned()),
    ];
    texts
        .into_iter()
        .map(|(name, context, text)| case(name, context, &encode_private(&text).expect("within the limit")))
        .collect()
}

fn case(name: &str, context: &str, value: &[u8]) -> VaultCase {
    let mut random = Stream::new(&format!("secure-sessions test vectors, vault {name}"));
    let secret: [u8; 32] = random.bytes();
    let handoff_key: [u8; 32] = random.bytes();
    let length = u16::try_from(value.len()).expect("within the limit").to_be_bytes();
    let bytes = [&secret[..], &length].concat();
    let reference = reference(&bytes);
    // Neither key has a part in it.
    let ring = keys(&["seal 1"], &["fingerprint 1"]).ring();
    let sizes = Sizes::default_for(context.len()).expect("a short name");
    let sealer = Sealer::new(Arc::clone(&ring), context, sizes).expect("a context");
    let vault = VaultId::of(&HandoffKey::random(&mut Replay(&handoff_key)).expect("32 bytes"));
    VaultCase {
        name: name.to_owned(),
        context: context.to_owned(),
        reference: hex::encode(&bytes),
        value: hex::encode(value),
        blob_id: hex::encode(reference.blob_id().as_bytes()),
        blob: hex::encode(&sealer.seal_blob(&reference.blob_key(), value)),
        handoff_key: hex::encode(&handoff_key),
        vault_id: hex::encode(vault.as_bytes()),
    }
}
