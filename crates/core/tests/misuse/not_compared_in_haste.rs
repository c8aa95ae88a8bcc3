//! Fingerprints are compared in constant time or not at all.

use secure_sessions_core::Fingerprint;

fn main() {
    let (one, two) = (Fingerprint::from_bytes([1; 16]), Fingerprint::from_bytes([2; 16]));
    let _ = one == two;
}
