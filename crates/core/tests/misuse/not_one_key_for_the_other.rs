//! The two kinds of keys cannot be confused.

use secure_sessions_core::{FingerprintKey, Keyring, SealKey};

fn main() {
    let (seal, fingerprint) = (SealKey::from_bytes([1; 32]), FingerprintKey::from_bytes([2; 32]));
    let _ = Keyring::builder().seal_key(fingerprint);
    let _ = Keyring::builder().fingerprint_key(seal);
    let _: SealKey = FingerprintKey::from_bytes([2; 32]).into();
}
