//! Tokens whose plaintext is arbitrary, sealed and marked with both keys: what a holder of all keys can present.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use secure_sessions_core::format::{MAX_KEY_LEN, MAX_TOKEN, MIN_TOKEN};
use secure_sessions_core::{
    Bucket, BucketPolicy, DataMap, Fingerprint, Millis, NewBucket, Refusal, Sealer, SessionId, SubjectTag, Timestamp,
    Token, Verdict,
};
use secure_sessions_fuzz::{CONTEXT, FINGERPRINT_KEY, SEAL_KEY};

const POLICY: BucketPolicy = BucketPolicy { grace: Millis::from_secs(60), touch_step: None };

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    session_id: [u8; 16],
    handoff_key: [u8; 32],
    generation: u32,
    issued_at: u64,
    expires_at: u64,
    now: u64,
    subject: Option<&'a str>,
    /// A bit of the finished token to flip.
    flip: u16,
    /// Bytes of the plaintext to change after it was put together.
    edits: Vec<(u16, u8)>,
    bloat: u8,
    meta: &'a [u8],
    data: &'a [u8],
}

fuzz_target!(|case: Case<'_>| {
    let plaintext = plaintext(&case);
    let (token, fingerprint) = forge::token(&SEAL_KEY, &FINGERPRINT_KEY, CONTEXT, &[7; 24], &plaintext);
    let sealer = secure_sessions_fuzz::sealer();
    let in_bounds = (MIN_TOKEN..=MAX_TOKEN).contains(&token.len());
    let decoded = Token::from_bytes(token);
    assert_eq!(decoded.is_ok(), in_bounds);
    let Ok(token) = decoded else { return };

    a_changed_token_is_refused(sealer, &token, case.flip);

    let opened = match sealer.open(token.clone()) {
        Ok(opened) => opened,
        Err(refusal) => {
            assert_eq!(refusal, Refusal::Malformed, "both keys fit");
            assert!(!is_well_formed(&plaintext), "refused a plaintext that holds what it says");
            return;
        }
    };
    assert!(is_well_formed(&plaintext), "opened a plaintext that does not hold what it says");
    assert_eq!(opened.session_id().as_bytes(), &plaintext[..16]);
    assert_eq!(opened.generation().to_be_bytes(), plaintext[48..52]);
    assert_eq!(opened.fingerprint().as_bytes(), &fingerprint);

    let now = Timestamp::from_millis(case.now);
    let subject = case.subject.map(|subject| sealer.subject_tag(subject));

    // Not issued: whatever else the bucket says, it does not vouch for this token.
    let honest = bucket(opened.session_id(), opened.generation(), [0; 16], subject);
    let verdict = sealer.admit(&honest, opened, now, None, &POLICY);
    assert!(!matches!(verdict, Verdict::Current(_) | Verdict::Superseded(_)), "admitted what was never issued");

    // Issued, as far as the bucket knows: its writer holds both keys too. Then the bounds still hold.
    let Ok(opened) = sealer.open(token) else { unreachable!("it opened before") };
    let id = opened.session_id();
    let tampered = bucket(id, opened.generation(), fingerprint, subject);
    if let Verdict::Current(admitted) = sealer.admit(&tampered, opened, now, None, &POLICY) {
        assert!(now < admitted.expires_at);
        assert_eq!(admitted.session_id, id);
        assert_eq!(admitted.meta.subject.as_deref(), case.subject.filter(|_| admitted.meta.subject.is_some()));
        assert_eq!(admitted.meta.subject.is_some(), subject.is_some());
        admitted.meta.check().expect("an admitted meta map can be written again");
        its_data_is_within_bounds(admitted.data);
    }
});

/// Nobody has looked at the data before: whatever it is, it is looked through and changed without a panic.
fn its_data_is_within_bounds(mut data: DataMap) {
    let keys: Vec<String> = data.keys().map(str::to_owned).collect();
    assert_eq!((keys.len(), keys.is_empty()), (data.len(), data.is_empty()));
    for (key, value) in data.iter() {
        assert_eq!(data.get_encoded(key), Some(value), "the first of a key counts");
        let mut other = DataMap::new();
        if key.len() <= MAX_KEY_LEN {
            assert!(other.insert_encoded(key, value).expect("one well-formed item"));
        }
    }
    if DataMap::from_cbor(&data.to_cbor()).is_ok() {
        assert!(data.insert_encoded("k", &[0x00]).is_ok());
    }
    for key in &keys {
        assert!(data.remove(key) && !data.contains_key(key), "all of a key are removed");
    }
    assert_eq!(data.to_cbor().len(), data.encoded_len());
}

fn plaintext(case: &Case<'_>) -> Vec<u8> {
    let mut bytes = [&case.session_id[..], &case.handoff_key].concat();
    bytes.extend_from_slice(&case.generation.to_be_bytes());
    bytes.extend_from_slice(&case.issued_at.to_be_bytes());
    bytes.extend_from_slice(&case.expires_at.to_be_bytes());
    for part in [case.meta, case.data] {
        bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes.resize(bytes.len() + usize::from(case.bloat), 0xb1);
    let length = bytes.len();
    for (at, value) in &case.edits {
        bytes[usize::from(*at) % length] = *value;
    }
    bytes
}

/// Returns `true` if both lengths, and 32 bytes of bloat after them, lie within the plaintext.
fn is_well_formed(plaintext: &[u8]) -> bool {
    let mut rest = &plaintext[16 + 32 + 4 + 8 + 8..];
    for _ in ["meta", "data"] {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return false };
        let Some(after) = after.get(usize::from(u16::from_be_bytes(*length))..) else { return false };
        rest = after;
    }
    rest.len() >= 32
}

fn a_changed_token_is_refused(sealer: &Sealer, token: &Token, flip: u16) {
    let mut bytes = token.as_bytes().to_vec();
    let bit = usize::from(flip) % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    if let Ok(changed) = Token::from_bytes(bytes) {
        assert!(sealer.open(changed).is_err(), "opened with bit {bit} flipped");
    }
}

fn bucket(id: SessionId, generation: u32, current: [u8; 16], subject: Option<SubjectTag>) -> Bucket {
    let new = NewBucket {
        id,
        subject,
        group: None,
        label: None,
        expires_at: Timestamp::from_millis(u64::MAX),
        idle_timeout: None,
        first: Fingerprint::from_bytes(current),
    };
    Bucket { generation, ..Bucket::create(new, Timestamp::from_millis(0)) }
}
