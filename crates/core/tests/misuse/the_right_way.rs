//! The correct form of the mistakes in the other files here. If this does not compile, their failures show nothing.

use secure_sessions_core::{
    Bucket, BucketPolicy, DataMap, FingerprintKey, Keyring, Opened, SealKey, Sealer, Timestamp, Verdict,
};

pub(crate) fn main() {
    let seal = SealKey::from_bytes([1; 32]);
    let fingerprint = FingerprintKey::from_bytes([2; 32]);
    let _ = (format!("{seal:?}"), seal.to_text(), fingerprint.id());
    let _ = Keyring::builder().seal_key(seal).fingerprint_key(fingerprint).build();
}

fn _data_after_the_verdict(
    sealer: &Sealer,
    bucket: &Bucket,
    opened: Opened,
    now: Timestamp,
    policy: &BucketPolicy,
) -> Option<DataMap> {
    let _ = (opened.session_id(), opened.generation(), opened.fingerprint());
    match sealer.admit(bucket, opened, now, None, policy) {
        Verdict::Current(admitted) => Some(admitted.data),
        _ => None,
    }
}
