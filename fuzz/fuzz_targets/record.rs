//! The answers of a store: each record, and each list of retired tokens, has one spelling.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secure_sessions_core::format::MAX_RETIRED;
use secure_sessions_core::record::retired_from_bytes;
use secure_sessions_core::{Bucket, BucketPolicy, Entry, Fingerprint, Millis, NewBucket, SessionId, Timestamp};

const POLICY: BucketPolicy = BucketPolicy { grace: Millis::from_secs(60), touch_step: None };

fn bucket() -> Bucket {
    let new = NewBucket {
        id: SessionId::from_bytes([0; 16]),
        subject: None,
        group: None,
        label: None,
        expires_at: Timestamp::default(),
        idle_timeout: None,
        first: Fingerprint::from_bytes([0; 16]),
    };
    Bucket::create(new, Timestamp::default())
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok((retired, evicted)) = retired_from_bytes(bytes) {
        assert!(retired.len() <= MAX_RETIRED);
        let bucket = Bucket { retired, evicted, ..bucket() };
        assert_eq!(bucket.retired_to_bytes(), bytes, "two spellings of one list");
    }
    let Ok(entry) = Entry::from_record(bytes) else { return };
    assert_eq!(entry.to_record(), bytes, "two spellings of one record");

    // No number in a record, however large, breaks the rules of time.
    let purge_at = entry.purge_at();
    if let Entry::Bucket(bucket) = &entry {
        assert!(bucket.retired.len() <= MAX_RETIRED);
        for now in [Timestamp::default(), bucket.last_seen_at, bucket.expires_at, Timestamp::from_millis(u64::MAX)] {
            let expired = bucket.is_expired(now, &POLICY);
            assert!(expired || now < bucket.expires_at);
            assert!(expired || now < purge_at || purge_at == Timestamp::from_millis(u64::MAX), "purged while alive");
            let _ = bucket.touch_due(now, &POLICY);
        }
    }
});
