use std::sync::Arc;

use getrandom::SysRng;
use proptest::prelude::*;

use super::*;
use crate::format::INFO_VAULT_KEY;
use crate::ids::{HandoffKey, VaultId};
use crate::kdf::KeySchedule;
use crate::references::Reference;
use crate::{FingerprintKey, Keyring, SealKey, Sizes};

fn sealer(context: &str) -> Sealer {
    let ring = Keyring::builder()
        .seal_key(SealKey::from_bytes([1; 32]))
        .fingerprint_key(FingerprintKey::from_bytes([2; 32]))
        .build();
    Sealer::new(Arc::new(ring.expect("a ring")), context, Sizes::default_for(context.len()).expect("short"))
        .expect("a context")
}

fn of(length: usize) -> BlobKey {
    Reference::draw(length, &mut SysRng).expect("within the limit").blob_key()
}

#[test]
fn a_value_of_any_length_is_opened_as_it_was_sealed() {
    let sealer = sealer("session");
    for length in [0, 1, 255, 256, 257, 4095, 4096, 4097, 9000, MAX_VAULT_VALUE_LEN] {
        let (reference, value) = (of(length), vec![7; length]);
        let blob = sealer.seal_blob(&reference, &value);
        assert_eq!(blob.len(), blob_len(length));
        assert_eq!(sealer.open_blob(&reference, blob).as_deref(), Ok(&value[..]), "{length}");
    }
}

#[test]
fn nothing_but_the_secret_in_the_token_opens_a_blob() {
    let sealer = sealer("session");
    let (right, value) = (of(300), [7; 300]);
    let (id, blob) = (right.id(), sealer.seal_blob(&right, &value));
    let vault = VaultId::of(&HandoffKey::from_bytes([3; 32]));
    let padded = |name: &[u8]| {
        let mut key = [0; 32];
        key[..name.len()].copy_from_slice(name);
        key
    };
    // Both keys, the names of vault and blob, alone and together, and the blob: all that keys and store hold.
    let mut known = vec![[0; 32], [1; 32], [2; 32], padded(vault.as_bytes()), padded(id.as_bytes())];
    known.push([*vault.as_bytes(), *id.as_bytes()].as_flattened().try_into().expect("32 bytes"));
    known.extend(blob.windows(32).filter_map(|part| <[u8; 32]>::try_from(part).ok()));
    for guess in known {
        for key in [guess.into(), KeySchedule::new(&guess).subkey(INFO_VAULT_KEY)] {
            let key = BlobKey { id, key, value_len: value.len() };
            assert_eq!(sealer.open_blob(&key, blob.clone()), Err(BlobError::Tampered), "{guess:?}");
        }
    }
    assert_eq!(sealer.open_blob(&right, blob).as_deref(), Ok(&value[..]));
}

#[test]
fn a_blob_of_another_value_session_or_cookie_is_refused() {
    let sealer = sealer("session");
    let (one, other) = (of(300), of(300));
    let blob = sealer.seal_blob(&one, &[7; 300]);
    assert_eq!(sealer.open_blob(&other, blob.clone()), Err(BlobError::Tampered));
    assert_eq!(self::sealer("admin").open_blob(&one, blob.clone()), Err(BlobError::Tampered));
    assert_eq!(sealer.open_blob(&one, blob).as_deref(), Ok(&[7; 300][..]));
}

#[test]
fn a_blob_of_a_later_version_is_told_from_one_that_was_altered() {
    let sealer = sealer("session");
    let reference = of(10);
    let mut blob = sealer.seal_blob(&reference, &[7; 10]);
    blob[0] = 2;
    assert_eq!(sealer.open_blob(&reference, blob.clone()), Err(BlobError::UnknownVersion { version: 2 }));
    blob[0] = 0;
    assert_eq!(sealer.open_blob(&reference, blob), Err(BlobError::Tampered));
    assert_eq!(sealer.open_blob(&reference, Vec::new()), Err(BlobError::Tampered));
}

#[test]
fn lengths_are_told_in_steps_that_cost_little() {
    assert_eq!([1, 256, 257, 4096].map(|length| blob_len(length) - 17), [256, 256, 512, 4096]);
    assert_eq!([4097, 5000, 8192, 8193].map(|length| blob_len(length) - 17), [4352, 5120, 8192, 8704]);
    let mut last = 0;
    for length in 1..=MAX_VAULT_VALUE_LEN {
        let padded = blob_len(length) - 17;
        assert!(padded >= length && padded >= last);
        assert!(length <= 4096 || (padded - length) * 100 <= length * 12, "{length} became {padded}");
        last = padded;
    }
}

proptest! {
    #[test]
    fn no_blob_that_differs_in_a_bit_or_in_length_opens(
        length in 0..700_usize, place in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<prop::sample::Index>(),
    ) {
        let sealer = sealer("session");
        let (reference, value) = (of(length), vec![0x55; length]);
        let blob = sealer.seal_blob(&reference, &value);
        let mut flipped = blob.clone();
        flipped[place.index(blob.len())] ^= 1 << bit;
        prop_assert!(sealer.open_blob(&reference, flipped).is_err());
        prop_assert!(sealer.open_blob(&reference, blob[..cut.index(blob.len())].to_vec()).is_err());
        prop_assert!(sealer.open_blob(&reference, [&blob[..], &[0]].concat()).is_err());
        prop_assert!(sealer.open_blob(&reference, blob).is_ok());
    }
}

#[cfg(feature = "ring")]
#[test]
fn both_implementations_seal_the_same_blob_and_open_each_others() {
    let (one, two) = (sealer("session"), sealer("session").with_aead(crate::Aead::Ring));
    let reference = of(5000);
    let blob = one.seal_blob(&reference, &[7; 5000]);
    assert_eq!(two.seal_blob(&reference, &[7; 5000]), blob);
    assert!(two.open_blob(&reference, blob).is_ok());
}
