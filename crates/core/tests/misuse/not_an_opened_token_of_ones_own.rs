//! Nobody but `Sealer::open` makes an opened token, nor judges one twice.

use secure_sessions_core::{Bucket, BucketPolicy, Opened, Sealer, Timestamp};

fn make() -> Opened {
    Opened { plaintext: 37 }
}

fn twice(sealer: &Sealer, bucket: &Bucket, opened: Opened, now: Timestamp, policy: &BucketPolicy) {
    let _ = sealer.admit(bucket, opened, now, None, policy);
    let _ = sealer.admit(bucket, opened, now, None, policy);
}

fn main() {}
