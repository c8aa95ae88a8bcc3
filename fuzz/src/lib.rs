//! The parts that the fuzz targets share.

pub mod history;
pub mod site;

use std::sync::{Arc, LazyLock};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use secure_sessions_core::{FingerprintKey, Keyring, SealKey, Sealer, Sizes};

/// The keys of every target: known, as if both had leaked.
pub const SEAL_KEY: [u8; 32] = [0x5e; 32];
/// See [`SEAL_KEY`].
pub const FINGERPRINT_KEY: [u8; 32] = [0xf1; 32];
/// The cookie's name.
pub const CONTEXT: &str = "session";

static SEALER: LazyLock<Sealer> = LazyLock::new(|| {
    let keyring = Keyring::builder()
        .seal_key(SealKey::from_bytes(SEAL_KEY))
        .fingerprint_key(FingerprintKey::from_bytes(FINGERPRINT_KEY))
        .build()
        .expect("two different keys");
    let sizes = Sizes::default_for(CONTEXT.len()).expect("a short name");
    Sealer::new(Arc::new(keyring), CONTEXT, sizes).expect("a short name")
});

/// The sealer under the known keys, made once: it keeps nothing of what it seals and opens.
///
/// # Panics
///
/// If the core refuses the keys.
#[must_use]
pub fn sealer() -> &'static Sealer {
    &SEALER
}

/// The same bytes in every run.
#[must_use]
pub fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}
