//! Secrets are not written by serde, whatever derives it around them.

use secure_sessions_core::{Admitted, Bucket, FingerprintKey, HandoffKey, Keyring, Opened, SealKey, Token};

fn written<T: serde::Serialize>() {}

fn main() {
    written::<SealKey>();
    written::<FingerprintKey>();
    written::<HandoffKey>();
    written::<Keyring>();
    written::<Token>();
    written::<Opened>();
    written::<Admitted>();
    written::<Bucket>();
}
