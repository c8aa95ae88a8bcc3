//! The rows of the table of verdicts, with real tokens.

use secure_sessions_core::{Admitted, Arrival, BucketPolicy, Millis, SessionId, SubjectTag, Timestamp, Token, Verdict};

use crate::support::fixtures::{
    CONTEXT, FINGERPRINT, LIFETIME, POLICY, SEAL, START, Session, later, ring, sealer_of, text,
};
use crate::support::raw;

fn admitted(verdict: Verdict) -> Admitted {
    match verdict {
        Verdict::Current(admitted) => admitted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_token_is_current_and_gives_its_content() {
    let session = Session::new(crate::support::fixtures::sealer(), Some("alice"), "hello");
    let admitted = admitted(session.present(&session.token, later(1)));
    assert_eq!(text(&admitted), "hello");
    assert_eq!(admitted.meta.subject.as_deref(), Some("alice"));
    assert_eq!((admitted.session_id, admitted.generation), (session.bucket.id, 1));
    assert_eq!((admitted.issued_at, admitted.expires_at), (START, START.after(LIFETIME)));
    let arrival = admitted.arrival(later(1));
    assert_eq!((arrival.generation, arrival.at), (1, later(1)));
    assert!(arrival.fingerprint.matches(&session.bucket.current));
}

#[test]
fn a_superseded_token_is_led_to_the_newest_data_and_never_gives_its_own() {
    let mut session = Session::anonymous("old");
    let old = session.rotate("new", later(10));
    let Verdict::Superseded(superseded) = session.present(&old, later(11)) else { panic!("not superseded") };
    assert_eq!((superseded.session_id(), superseded.arrival(later(11)).generation), (session.bucket.id, 1));
    let (admitted, newest) =
        session.sealer.follow(&session.bucket, superseded.handoff_key(), later(11), None).expect("followed");
    assert_eq!(text(&admitted), "new");
    assert!(newest == session.token);
}

#[test]
fn a_token_past_its_deadline_is_expired_though_the_bucket_is_not() {
    let mut session = Session::anonymous("data");
    session.bucket.idle_timeout = None;
    let deadline = START.after(LIFETIME);
    session.bucket.expires_at = deadline.after(LIFETIME);
    let last = Timestamp::from_millis(deadline.as_millis() - 1);
    assert!(matches!(session.present(&session.token, last), Verdict::Current(_)));
    assert!(matches!(session.present(&session.token, deadline), Verdict::Expired));
}

#[test]
fn a_token_of_a_bucket_past_its_absolute_deadline_is_expired() {
    let mut session = Session::anonymous("data");
    session.bucket.expires_at = later(100);
    assert!(matches!(session.present(&session.token, later(99)), Verdict::Current(_)));
    assert!(matches!(session.present(&session.token, later(100)), Verdict::Expired));
}

#[test]
fn a_token_of_an_idle_bucket_is_expired() {
    let session = Session::anonymous("data");
    let last = START.after(Millis::from_secs(30 * 60)).after(session.bucket.touch_step(&POLICY));
    assert!(matches!(session.present(&session.token, last), Verdict::Current(_)));
    assert!(matches!(session.present(&session.token, last.after(Millis::new(1))), Verdict::Expired));
}

#[test]
fn a_token_issued_before_not_before_is_expired_and_one_issued_then_is_not() {
    let session = Session::anonymous("data");
    let judge = |not_before| {
        let opened = session.sealer.open(session.token.clone()).expect("ours");
        session.sealer.admit(&session.bucket, opened, later(100), Some(not_before), &POLICY)
    };
    assert!(matches!(judge(START), Verdict::Current(_)));
    assert!(matches!(judge(START.after(Millis::new(1))), Verdict::Expired));
}

#[test]
fn a_token_issued_in_the_future_is_admitted_since_hosts_clocks_differ() {
    let session = Session::anonymous("data");
    let earlier = Timestamp::from_millis(START.as_millis() - 30_000);
    assert!(matches!(session.present(&session.token, earlier), Verdict::Current(_)));
}

#[test]
fn a_dead_token_is_a_replay_though_its_handoff_would_still_open() {
    let mut session = Session::anonymous("old");
    let old = session.rotate("new", later(10));
    session.rotate("newer", later(75));
    assert!(session.bucket.handoff.is_some());
    assert!(matches!(session.present(&old, later(135)), Verdict::Superseded(_)));
    assert!(matches!(session.present(&old, later(136)), Verdict::Replayed));
}

#[test]
fn a_forgotten_token_of_an_earlier_generation_is_a_replay() {
    let mut session = Session::anonymous("old");
    let old = session.rotate("new", later(10));
    session.bucket.retired.clear();
    assert!(matches!(session.present(&old, later(11)), Verdict::Replayed));
}

#[test]
fn a_token_that_the_store_has_lost_is_unremembered() {
    let mut session = Session::anonymous("old");
    let before = session.bucket.clone();
    session.rotate("new", later(10));
    // The store went back to what it was before the rotation.
    session.bucket = before;
    assert!(matches!(session.present(&session.token, later(11)), Verdict::Unremembered));
}

#[test]
fn what_was_forged_with_both_keys_is_never_admitted() {
    let mut session = Session::new(crate::support::fixtures::sealer(), None, "data");
    session.rotate("newer", later(10));
    let mut plaintext = raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("the thief has the keys");
    for generation in [0, 1, 2, 3, u32::MAX] {
        plaintext.generation = generation;
        let (forged, _) = raw::token(&SEAL, &FINGERPRINT, CONTEXT, &[1; 24], &plaintext.to_bytes());
        let verdict = session.present(&Token::from_bytes(forged).expect("a token"), later(11));
        assert!(matches!(verdict, Verdict::Replayed | Verdict::Unremembered), "{generation}: {verdict:?}");
    }
}

#[test]
fn a_bucket_of_another_session_admits_nothing() {
    let (one, mut other) = (Session::anonymous("one"), Session::anonymous("other"));
    other.bucket.id = SessionId::from_bytes([3; 16]);
    assert!(matches!(other.present(&one.token, later(1)), Verdict::Tampered));
}

#[test]
fn a_bucket_whose_subject_was_moved_is_tampered_with() {
    let sealer = crate::support::fixtures::sealer();
    let tag = |subject: &str| Some(sealer.subject_tag(subject));
    for (in_token, in_bucket) in [
        (Some("alice"), tag("bob")),
        (Some("alice"), None),
        (None, tag("alice")),
        (Some("alice"), Some(SubjectTag::from_bytes([0; 16]))),
    ] {
        let mut session = Session::new(crate::support::fixtures::sealer(), in_token, "data");
        session.bucket.subject = in_bucket;
        assert!(matches!(session.present(&session.token, later(1)), Verdict::Tampered), "{in_token:?}");
    }
}

#[test]
fn a_bucket_whose_generation_was_changed_is_tampered_with() {
    let mut session = Session::anonymous("data");
    session.bucket.generation = 7;
    assert!(matches!(session.present(&session.token, later(1)), Verdict::Tampered));
}

#[test]
fn subjects_are_apart_by_cookie_name_and_shared_with_its_bearer_tokens() {
    let ring = ring(&[SEAL], &[FINGERPRINT]);
    let mut session = Session::new(sealer_of(ring.clone(), "admin"), Some("alice"), "data");
    session.bucket.subject = Some(sealer_of(ring, "shop").subject_tag("alice"));
    assert!(matches!(session.present(&session.token, later(1)), Verdict::Tampered));

    let shop = crate::support::fixtures::sealer();
    let bearer = shop.for_context("bearer:session-token", shop.sizes().clone()).expect("a context");
    let mut session = Session::new(bearer, Some("alice"), "data");
    assert_eq!(session.bucket.subject, Some(shop.subject_tag("alice")));
    assert!(matches!(session.present(&session.token, later(1)), Verdict::Current(_)));
    session.bucket.subject = Some(shop.subject_tag("bob"));
    assert!(matches!(session.present(&session.token, later(1)), Verdict::Tampered));
}

#[test]
fn the_subject_is_checked_under_the_token_s_own_fingerprint_key() {
    let new_key = [0xf2; 32];
    let session = Session::new(crate::support::fixtures::sealer(), Some("alice"), "data");
    let newer = sealer_of(ring(&[SEAL], &[new_key, FINGERPRINT]), CONTEXT);
    let opened = newer.open(session.token.clone()).expect("accepted");
    let verdict = newer.admit(&session.bucket, opened, later(1), None, &POLICY);
    assert_eq!(admitted(verdict).meta.subject.as_deref(), Some("alice"));
}

#[test]
fn a_client_that_never_takes_the_newest_token_is_led_to_it_every_time() {
    let mut session = Session::anonymous("0");
    let first = session.token.clone();
    let stubborn = |session: &Session, at| Arrival {
        generation: 1,
        fingerprint: session.sealer.open(first.clone()).expect("ours").fingerprint(),
        at,
    };
    for write in 1..=200_u64 {
        let now = later(write * 61);
        let arrival = stubborn(&session, now);
        session.rotate_for(&arrival, &write.to_string(), now);
        let Verdict::Superseded(superseded) = session.present(&first, now) else { panic!("write {write}") };
        let followed = session.sealer.follow(&session.bucket, superseded.handoff_key(), now, None);
        assert_eq!(text(&followed.expect("followed").0), write.to_string());
    }
}

#[test]
fn a_grace_of_nothing_still_admits_the_newest_token() {
    let policy = BucketPolicy { grace: Millis::ZERO, touch_step: None };
    let session = Session::anonymous("data");
    let opened = session.sealer.open(session.token.clone()).expect("ours");
    let verdict = session.sealer.admit(&session.bucket, opened, later(1), None, &policy);
    assert_eq!(text(&admitted(verdict)), "data");
}

/// A newer build of the reader: it knows an entry that ours does not, and reads it out of a token.
fn newer_reads(token: &Token) -> Vec<u8> {
    raw::read(&SEAL, CONTEXT, token.as_bytes()).expect("both have the keys").meta
}

#[test]
fn an_older_build_that_rotates_drops_none_of_a_newer_one_s_entries() {
    let mut session = Session::new(crate::support::fixtures::sealer(), Some("alice"), "old");
    // The newer build writes entry 0, before ours, and entry 20, after them.
    let mut plaintext = raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("both have the keys");
    let (early, other) = ([0x00, 0x82, 0x01, 0x43, 7, 7, 7], [0x14, 0xa1, 0x61, b'x', 0x1b, 0, 0, 0, 0, 0, 0, 0, 1]);
    plaintext.meta[0] += 2;
    let meta = plaintext.meta.clone();
    let (head, ours) = meta.split_at(1);
    plaintext.meta = [head, &early, ours, &other].concat();
    // The subject's tag is the last of ours.
    let (before, tag) = ours.split_at(ours.len() - 18);
    let (token, fingerprint) = raw::token(&SEAL, &FINGERPRINT, CONTEXT, &[1; 24], &plaintext.to_bytes());
    let token = Token::from_bytes(token).expect("a token");
    session.bucket.current = secure_sessions_core::Fingerprint::from_bytes(fingerprint);

    // Ours passes over them, changes what it knows, and rotates twice.
    let mut random = crate::support::random::Stream::new("an older build");
    let mut newest = admitted(session.present(&token, later(1)));
    for generation in 2..4 {
        newest.meta.persistent = Some(generation == 2);
        let content = secure_sessions_core::Content {
            session_id: newest.session_id,
            handoff_key: &newest.handoff_key,
            generation,
            issued_at: later(generation.into()),
            expires_at: newest.expires_at,
            meta: &newest.meta,
            data: &newest.data,
        };
        let issued = session.sealer.seal(&content, &mut random).expect("fits");
        (session.bucket.generation, session.bucket.current) = (generation, issued.fingerprint);
        session.bucket.subject = issued.subject;

        let read = newer_reads(&issued.token);
        let persistent = [0x04, if generation == 2 { 0xf5 } else { 0xf4 }];
        let expected = [&[0xa5][..], &early, before, &persistent, tag, &other].concat();
        assert_eq!(read, expected, "generation {generation}");
        newest = admitted(session.present(&issued.token, later(5)));
        assert_eq!((newest.meta.subject.as_deref(), text(&newest).as_str()), (Some("alice"), "old"));
    }
}

#[test]
fn a_critical_entry_of_a_newer_build_is_a_verdict_of_its_own() {
    let mut session = Session::anonymous("data");
    let mut plaintext = raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("both have the keys");
    for (meta, expected) in [(&[0xa1, 0x18, 0x1f, 0x00], None), (&[0xa1, 0x18, 0x20, 0x00], Some(32))] {
        plaintext.meta = meta.to_vec();
        let (token, fingerprint) = raw::token(&SEAL, &FINGERPRINT, CONTEXT, &[1; 24], &plaintext.to_bytes());
        session.bucket.current = secure_sessions_core::Fingerprint::from_bytes(fingerprint);
        let verdict = session.present(&Token::from_bytes(token).expect("a token"), later(1));
        match (&verdict, expected) {
            (Verdict::Current(_), None) => {}
            (Verdict::Critical { key }, Some(expected)) if *key == expected => {}
            _ => panic!("{verdict:?}"),
        }
    }
}
