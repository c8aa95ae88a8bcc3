//! A key shows its bytes to nobody: only as text, on request.

use secure_sessions_core::{FingerprintKey, HandoffKey, SealKey};

fn bytes(_: &impl AsRef<[u8]>) {}

fn main() {
    let (seal, fingerprint) = (SealKey::from_bytes([1; 32]), FingerprintKey::from_bytes([2; 32]));
    bytes(&seal);
    bytes(&fingerprint);
    let _ = format!("{seal} {fingerprint}");
    let _ = seal == SealKey::from_bytes([1; 32]);
}

fn handoff(key: &HandoffKey) {
    bytes(key);
    let _ = key.as_bytes();
}
