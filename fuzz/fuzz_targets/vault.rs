//! References in a token, and the blobs that a store returns for them: each map has one spelling, and nothing opens that was
//! not put for its reference.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use secure_sessions_core::format::{MAX_VAULT_LEN, MAX_VAULT_VALUES};
use secure_sessions_core::{Reference, References, blob_len};
use secure_sessions_fuzz::{rng, sealer};

#[derive(Debug, Arbitrary)]
struct Input {
    /// Keys and lengths of values, in the order in which they are set; `None` removes.
    changes: Vec<(String, Option<u16>)>,
    value: Vec<u8>,
    /// The bytes that the store returns instead of the blob.
    other: Vec<u8>,
    flipped: (u16, u8),
}

fuzz_target!(|input: Input| {
    let mut rng = rng();
    let mut references = References::default();
    let mut model = std::collections::BTreeMap::new();
    for (key, length) in input.changes.into_iter().take(200) {
        match length {
            None => assert_eq!(references.remove(&key), model.remove(&key).is_some()),
            Some(length) => {
                let reference = Reference::draw(length.into(), &mut rng).expect("every u16 is within the limit");
                let before = references.clone();
                if references.insert(&key, reference).is_ok() {
                    model.insert(key, usize::from(length));
                } else {
                    assert!(references == before, "a refused value changed something");
                }
            }
        }
        let found: Vec<_> = references.iter().map(|(key, reference)| (key.to_owned(), reference.value_len())).collect();
        assert!(found.iter().cloned().eq(model.clone()), "not the same as the model");
        assert!(found.len() <= MAX_VAULT_VALUES && references.value_len() <= MAX_VAULT_LEN);
    }

    let sealer = sealer();
    let Ok(reference) = Reference::draw(input.value.len(), &mut rng) else { return };
    let key = reference.blob_key();
    let blob = sealer.seal_blob(&key, &input.value);
    assert_eq!(blob.len(), blob_len(input.value.len()));
    assert!(sealer.open_blob(&key, input.other.clone()).is_err() || input.other == blob, "another blob opened");
    let mut flipped = blob.clone();
    let at = usize::from(input.flipped.0) % flipped.len();
    flipped[at] ^= 1 << (input.flipped.1 % 8);
    assert!(sealer.open_blob(&key, flipped).is_err(), "a blob that differs in a bit opened");
    assert_eq!(&*sealer.open_blob(&key, blob).expect("its own"), &input.value[..]);
});
