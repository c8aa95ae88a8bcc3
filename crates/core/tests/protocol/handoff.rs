//! The handoff: followed only where every check of a presented token holds.

use secure_sessions_core::{
    Bucket, FingerprintKey, HandoffError, HandoffKey, KeyKind, SealKey, SessionId, SubjectTag, Timestamp, Token,
    Verdict,
};

use crate::support::fixtures::{
    CONTEXT, FINGERPRINT, LIFETIME, SEAL, START, Session, later, ring, sealer, sealer_of, text,
};
use crate::support::raw;

const OTHER_SEAL: [u8; 32] = [0x52; 32];
const NOW: u64 = 20;

/// A session after one rotation, with a subject.
fn rotated() -> Session {
    let mut session = Session::new(sealer(), Some("alice"), "old");
    session.rotate("new", later(10));
    session
}

fn follow(session: &Session, bucket: &Bucket) -> Result<String, HandoffError> {
    let followed = session.sealer.follow(bucket, &session.handoff_key, later(NOW), None);
    followed.map(|(admitted, _)| text(&admitted))
}

/// Reads the handoff key out of a token, as a thief of the seal key does.
fn handoff_key_of(session: &Session) -> [u8; 32] {
    raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("the thief has the seal key").handoff_key
}

/// A handoff that somebody with the seal key and the handoff key put into the bucket.
fn planted(session: &Session, token: &[u8]) -> Bucket {
    let key = handoff_key_of(session);
    let handoff = raw::handoff(&SEAL, CONTEXT, session.bucket.id.as_bytes(), &key, &[1; 24], token);
    Bucket { handoff: Some(handoff), ..session.bucket.clone() }
}

#[test]
fn a_handoff_leads_to_the_newest_token_and_its_data() {
    let session = rotated();
    let (admitted, token) =
        session.sealer.follow(&session.bucket, &session.handoff_key, later(NOW), None).expect("followed");
    assert_eq!((text(&admitted).as_str(), admitted.generation), ("new", 2));
    assert!(token == session.token);
    assert!(matches!(session.present(&token, later(NOW)), Verdict::Current(_)));
}

#[test]
fn a_handoff_of_the_longest_context_leads_there_too() {
    let context = "x".repeat(secure_sessions_core::format::MAX_CONTEXT_LEN);
    let sealer = sealer_of(ring(&[SEAL], &[FINGERPRINT]), &context);
    let mut session = Session::new(sealer, Some("alice"), "old");
    session.rotate("new", later(10));
    assert_eq!(follow(&session, &session.bucket).as_deref(), Ok("new"));
}

#[test]
fn what_the_second_implementation_seals_is_followed() {
    let session = rotated();
    let bucket = planted(&session, session.token.as_bytes());
    assert_eq!(follow(&session, &bucket).as_deref(), Ok("new"));
}

#[test]
fn a_handoff_is_sealed_under_a_random_nonce_each_time() {
    let mut session = rotated();
    let id = session.bucket.id;
    let mut seal = || {
        let sealed = session.sealer.seal_handoff(&id, &session.handoff_key, &session.token, &mut session.random);
        sealed.expect("random")
    };
    assert_ne!(seal(), seal());
}

#[test]
fn without_a_handoff_there_is_nothing_to_follow() {
    let session = rotated();
    let bucket = Bucket { handoff: None, ..session.bucket.clone() };
    assert_eq!(follow(&session, &bucket), Err(HandoffError::Missing));
}

#[test]
fn nobody_without_a_token_of_the_session_opens_its_handoff() {
    let session = rotated();
    for key in [[0; 32], SEAL, FINGERPRINT] {
        let guessed = HandoffKey::random(&mut crate::support::random::Replay(&key)).expect("32 bytes");
        let followed = session.sealer.follow(&session.bucket, &guessed, later(NOW), None);
        assert!(matches!(followed, Err(HandoffError::Tampered)));
    }
}

#[test]
fn one_flipped_bit_anywhere_in_a_handoff_is_tampering_or_an_unknown_key() {
    let session = rotated();
    let handoff = session.bucket.handoff.clone().expect("after a rotation");
    // The envelope and the token in it each name a key; which key a host has not got yet cannot be told from a flipped bit.
    let (seal_key_id, fingerprint_key_id) = (0..4, 28 + 5..28 + 9);
    for place in 0..handoff.len() * 8 {
        let at = place / 8;
        let mut changed = handoff.clone();
        changed[at] ^= 1 << (place % 8);
        let bucket = Bucket { handoff: Some(changed), ..session.bucket.clone() };
        let fits = match follow(&session, &bucket).expect_err("changed") {
            HandoffError::UnknownKey { kind: KeyKind::Seal, .. } => seal_key_id.contains(&at),
            HandoffError::UnknownKey { kind: KeyKind::Fingerprint, .. } => fingerprint_key_id.contains(&at),
            error => error == HandoffError::Tampered && !seal_key_id.contains(&at) && !fingerprint_key_id.contains(&at),
        };
        assert!(fits, "bit {place}");
    }
}

#[test]
fn a_handoff_cut_off_anywhere_is_tampered_with() {
    let session = rotated();
    let handoff = session.bucket.handoff.clone().expect("after a rotation");
    for length in 0..handoff.len() {
        let bucket = Bucket { handoff: Some(handoff[..length].to_vec()), ..session.bucket.clone() };
        assert_eq!(follow(&session, &bucket), Err(HandoffError::Tampered), "{length} bytes");
    }
}

#[test]
fn a_handoff_of_another_session_generation_or_context_is_tampered_with() {
    let session = rotated();
    let id = Bucket { id: SessionId::from_bytes([3; 16]), ..session.bucket.clone() };
    let generation = Bucket { generation: 3, ..session.bucket.clone() };
    for bucket in [id, generation] {
        assert_eq!(follow(&session, &bucket), Err(HandoffError::Tampered));
    }
    let elsewhere = sealer_of(ring(&[SEAL], &[FINGERPRINT]), "session");
    let followed = elsewhere.follow(&session.bucket, &session.handoff_key, later(NOW), None);
    assert!(matches!(followed, Err(HandoffError::Tampered)));
}

#[test]
fn an_older_handoff_put_back_is_tampered_with() {
    let mut session = rotated();
    let older = session.bucket.handoff.clone();
    session.rotate("newest", later(15));
    let bucket = Bucket { handoff: older.clone(), ..session.bucket.clone() };
    assert_eq!(follow(&session, &bucket), Err(HandoffError::Tampered));
    // With its generation put back as well, the fingerprint does not fit.
    let bucket = Bucket { handoff: older, generation: 2, ..session.bucket.clone() };
    assert_eq!(follow(&session, &bucket), Err(HandoffError::Tampered));
}

#[test]
fn an_issued_older_token_sealed_as_the_newest_is_tampered_with() {
    let mut session = rotated();
    let older = session.rotate("newest", later(15));
    let bucket = planted(&session, older.as_bytes());
    assert_eq!(follow(&session, &bucket), Err(HandoffError::Tampered));
}

#[test]
fn an_unissued_token_is_tampering_even_if_seal_and_handoff_key_sealed_it() {
    let session = rotated();
    let mut plaintext = raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("the thief has the seal key");
    plaintext.meta = raw::meta_of(&FINGERPRINT, CONTEXT, "admin");
    let unmarked = raw::unmarked(&SEAL, raw::key_id(&FINGERPRINT), CONTEXT, &[2; 24], &plaintext.to_bytes());
    let bytes = session.token.as_bytes();
    for mark in [&bytes[bytes.len() - 16..], &[0; 16]] {
        let bucket = planted(&session, &[&unmarked, mark].concat());
        assert_eq!(follow(&session, &bucket), Err(HandoffError::Tampered));
    }
    for garbage in [&[][..], &[0; 300], b"not a token"] {
        assert_eq!(follow(&session, &planted(&session, garbage)), Err(HandoffError::Tampered));
    }
}

#[test]
fn a_handoff_forged_with_both_keys_is_tampering_if_the_fingerprint_differs() {
    let session = rotated();
    let plaintext = raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("the thief has the seal key");
    let (forged, _) = raw::token(&SEAL, &FINGERPRINT, CONTEXT, &[2; 24], &plaintext.to_bytes());
    assert_eq!(follow(&session, &planted(&session, &forged)), Err(HandoffError::Tampered));
}

#[test]
fn a_token_under_another_seal_key_than_its_envelope_is_tampering() {
    let keys = ring(&[SEAL, OTHER_SEAL], &[FINGERPRINT]);
    let mut session = Session::new(sealer_of(keys, CONTEXT), None, "old");
    session.rotate("new", later(10));
    let plaintext = raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("the thief has the seal key");
    let (token, fingerprint) = raw::token(&OTHER_SEAL, &FINGERPRINT, CONTEXT, &[2; 24], &plaintext.to_bytes());
    let current = secure_sessions_core::Fingerprint::from_bytes(fingerprint);
    // All of it fits the bucket but the key that the envelope names.
    let bucket = Bucket { current, ..planted(&session, &token) };
    assert_eq!(follow(&session, &bucket), Err(HandoffError::Tampered));
    let handoff = raw::handoff(&OTHER_SEAL, CONTEXT, bucket.id.as_bytes(), &plaintext.handoff_key, &[1; 24], &token);
    assert_eq!(follow(&session, &Bucket { handoff: Some(handoff), ..bucket }).as_deref(), Ok("new"));
}

#[test]
fn a_token_of_a_later_release_that_must_not_be_read_in_part_is_left_alone() {
    let session = rotated();
    let mut plaintext = raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("opens");
    plaintext.meta = vec![0xa1, 0x18, 0x20, 0x00];
    let (token, fingerprint) = raw::token(&SEAL, &FINGERPRINT, CONTEXT, &[2; 24], &plaintext.to_bytes());
    let current = secure_sessions_core::Fingerprint::from_bytes(fingerprint);
    let bucket = Bucket { current, subject: None, ..planted(&session, &token) };
    assert_eq!(follow(&session, &bucket), Err(HandoffError::Critical { key: 32 }));
}

#[test]
fn a_moved_subject_is_found_in_the_handoff_too() {
    let session = rotated();
    for subject in [None, Some(SubjectTag::from_bytes([0; 16])), Some(session.sealer.subject_tag("bob"))] {
        let bucket = Bucket { subject, ..session.bucket.clone() };
        assert_eq!(follow(&session, &bucket), Err(HandoffError::Tampered));
    }
}

#[test]
fn the_newest_token_expires_at_its_deadline_or_if_issued_before_not_before() {
    let session = rotated();
    let follow = |now: Timestamp, not_before| {
        session.sealer.follow(&session.bucket, &session.handoff_key, now, not_before).map(|_| ())
    };
    let deadline = START.after(LIFETIME);
    assert_eq!(follow(Timestamp::from_millis(deadline.as_millis() - 1), None), Ok(()));
    assert_eq!(follow(deadline, None), Err(HandoffError::Expired));
    assert_eq!(follow(later(NOW), Some(later(10))), Ok(()));
    assert_eq!(follow(later(NOW), Some(later(11))), Err(HandoffError::Expired));
}

#[test]
fn a_seal_key_that_is_not_in_the_ring_is_named() {
    let session = rotated();
    let without = sealer_of(ring(&[OTHER_SEAL], &[FINGERPRINT]), CONTEXT);
    let followed = without.follow(&session.bucket, &session.handoff_key, later(NOW), None).map(|_| ());
    assert_eq!(followed, Err(HandoffError::UnknownKey { kind: KeyKind::Seal, id: SealKey::from_bytes(SEAL).id() }));
}

#[test]
fn a_fingerprint_key_that_is_not_in_the_ring_is_named_and_nobody_is_accused() {
    let session = rotated();
    let without = sealer_of(ring(&[SEAL], &[[0xf2; 32]]), CONTEXT);
    let followed = without.follow(&session.bucket, &session.handoff_key, later(NOW), None).map(|_| ());
    assert_eq!(
        followed,
        Err(HandoffError::UnknownKey { kind: KeyKind::Fingerprint, id: FingerprintKey::from_bytes(FINGERPRINT).id() })
    );
}

#[test]
fn a_handoff_under_an_accepted_key_is_followed() {
    let session = rotated();
    let newer = sealer_of(ring(&[OTHER_SEAL, SEAL], &[[0xf2; 32], FINGERPRINT]), CONTEXT);
    let (admitted, _) = newer.follow(&session.bucket, &session.handoff_key, later(NOW), None).expect("followed");
    assert!(admitted.keys.is_outdated());
}

#[test]
fn a_handoff_never_leads_across_a_renew() {
    let before = rotated();
    // Another id and another handoff key.
    let mut after = Session::new(sealer(), Some("alice"), "logged in");
    after.rotate("secret", later(12));
    let (bucket, old_key) = (&after.bucket, &before.handoff_key);
    let followed = before.sealer.follow(bucket, old_key, later(NOW), None).map(|_| ());
    assert_eq!(followed, Err(HandoffError::Tampered));
    let moved = Bucket { handoff: after.bucket.handoff.clone(), ..before.bucket.clone() };
    assert_eq!(follow(&before, &moved), Err(HandoffError::Tampered));
}

#[test]
fn what_is_followed_can_be_presented_and_what_is_presented_was_issued() {
    let mut session = rotated();
    for generation in 3..20_u64 {
        let now = later(generation * 10);
        let superseded = session.rotate(&generation.to_string(), now);
        let Verdict::Superseded(way) = session.present(&superseded, now) else { panic!("generation {generation}") };
        let (_, newest) = session.sealer.follow(&session.bucket, way.handoff_key(), now, None).expect("followed");
        let newest = Token::decode(newest.encode().as_bytes()).expect("canonical");
        assert!(matches!(session.present(&newest, now), Verdict::Current(_)));
    }
}
