//! The powers of a thief with one key or both: with and without a cookie, and with write access to the store.

use secure_sessions_core::{
    Bucket, Fingerprint, FingerprintKey, KeyId, KeyKind, Keyring, Refusal, Retired, SealKey, Sealer, SessionId,
    SubjectTag, Suspect, Token, Verdict,
};

use crate::support::fixtures::{CONTEXT, FINGERPRINT, POLICY, SEAL, Session, later, ring, sealer, sealer_of};
use crate::support::raw::{self, Plaintext};

const OTHER_SEAL: [u8; 32] = [0x52; 32];
const OTHER_FINGERPRINT: [u8; 32] = [0xf2; 32];

fn refused(sealer: &Sealer, bytes: &[u8]) -> Refusal {
    let token = Token::from_bytes(bytes.to_vec()).expect("a plausible length and version");
    sealer.open(token).expect_err("no token of ours")
}

fn suspect(sealer: &Sealer, bytes: &[u8]) -> Suspect {
    match refused(sealer, bytes) {
        Refusal::Unmarked(suspect) => suspect,
        other => panic!("{other:?}"),
    }
}

fn seal_id(key: [u8; 32]) -> KeyId {
    SealKey::from_bytes(key).id()
}

fn fingerprint_id(key: [u8; 32]) -> KeyId {
    FingerprintKey::from_bytes(key).id()
}

fn read(session: &Session) -> Plaintext {
    raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("the thief has the seal key")
}

fn unmarked_of(token: &[u8]) -> &[u8] {
    &token[..token.len() - 16]
}

// The fingerprint key.

/// All marks that the fingerprint key alone lets a thief make: under it, under its subkeys, and under a pair with a seal
/// key of their own.
fn marks_without_the_seal_key(unmarked: &[u8]) -> Vec<([u8; 16], [u8; 16])> {
    let subkeys = ["fingerprint", "subject", "mark", "seal"].map(|info| raw::derive::<32>(&FINGERPRINT, info));
    let pairs = [OTHER_SEAL, FINGERPRINT, [0; 32]].map(|seal| raw::mark_key(&seal, &FINGERPRINT));
    let keys = [FINGERPRINT].into_iter().chain(subkeys).chain(pairs);
    keys.map(|key| raw::mark_under(&key, CONTEXT, unmarked)).collect()
}

#[test]
fn fingerprint_key_and_store_write_do_not_move_ones_own_cookie() {
    // Mallory logs in, and knows what stands in the cookie: the name, the tag (there is the key), the data.
    let session = Session::new(sealer(), Some("mallory"), "data");
    let token = session.token.as_bytes();
    let name = 33 + 70 + 3;
    assert_eq!(&read(&session).to_bytes()[70 + 3..][..7], b"mallory", "the place of the name is known");
    let mut altered = token.to_vec();
    for (at, (from, to)) in b"mallory".iter().zip(b"charlie").enumerate() {
        altered[name + at] ^= from ^ to;
    }
    let (from, to) = ("mallory", "charlie");
    let tags = [from, to].map(|subject| raw::subject_tag(&FINGERPRINT, CONTEXT, subject));
    let plain = read(&session).to_bytes();
    let tag = 33 + plain.windows(16).position(|window| window == tags[0]).expect("the tag of the subject");
    for at in 0..16 {
        altered[tag + at] ^= tags[0][at] ^ tags[1][at];
    }

    // With both keys it would be taken: nothing but the mark stands in the way.
    let takes = |bytes: &[u8], kept: [u8; 16]| {
        let mut bucket = session.bucket.clone();
        bucket.subject = Some(SubjectTag::from_bytes(tags[1]));
        bucket.current = Fingerprint::from_bytes(kept);
        let opened = session.sealer.open(Token::from_bytes(bytes.to_vec()).expect("a token"))?;
        Ok::<_, Refusal>(session.sealer.admit(&bucket, opened, later(1), None, &POLICY))
    };
    let unmarked = unmarked_of(&altered);
    let (issue, kept) = raw::mark(&SEAL, &FINGERPRINT, CONTEXT, unmarked);
    let verdict = takes(&[unmarked, &issue].concat(), kept).expect("opens without a look at the tag");
    let Verdict::Current(admitted) = verdict else { panic!("{verdict:?}") };
    assert_eq!(admitted.meta.subject.as_deref(), Some("charlie"));

    // With the fingerprint key alone it is not authentic, whatever is written to the store.
    for (issue, kept) in marks_without_the_seal_key(unmarked) {
        assert_eq!(takes(&[unmarked, &issue].concat(), kept).err(), Some(Refusal::NotAuthentic));
    }
    let own_mark = &token[token.len() - 16..];
    let taken = takes(&[unmarked, own_mark].concat(), *session.bucket.current.as_bytes());
    assert_eq!(taken.err(), Some(Refusal::NotAuthentic));
}

#[test]
fn whoever_has_the_fingerprint_key_marks_nothing() {
    let session = Session::anonymous("data");
    let bytes = session.token.as_bytes();
    for at in [9, 33, bytes.len() - 17] {
        let mut unmarked = unmarked_of(bytes).to_vec();
        unmarked[at] ^= 1;
        for (issue, _) in marks_without_the_seal_key(&unmarked) {
            assert_eq!(refused(&session.sealer, &[&unmarked[..], &issue].concat()), Refusal::NotAuthentic);
        }
    }
    // A seal key of their own does not help: its id is not in the ring, and that of ours gives another key.
    let plaintext = read(&session).to_bytes();
    let mut unmarked = raw::unmarked(&OTHER_SEAL, raw::key_id(&FINGERPRINT), CONTEXT, &[1; 24], &plaintext);
    unmarked[1..5].copy_from_slice(&raw::key_id(&SEAL));
    for (issue, _) in marks_without_the_seal_key(&unmarked) {
        assert_eq!(refused(&session.sealer, &[&unmarked[..], &issue].concat()), Refusal::NotAuthentic);
    }
}

#[test]
fn the_mark_of_one_pair_of_keys_is_none_of_another_pair() {
    let sealer = sealer_of(ring(&[SEAL, OTHER_SEAL], &[FINGERPRINT, OTHER_FINGERPRINT]), CONTEXT);
    let plaintext = read(&Session::anonymous("data")).to_bytes();
    let (seals, fingerprints) = ([SEAL, OTHER_SEAL], [FINGERPRINT, OTHER_FINGERPRINT]);
    for (seal, fingerprint) in seals.iter().flat_map(|seal| fingerprints.iter().map(move |key| (seal, key))) {
        let unmarked = raw::unmarked(seal, raw::key_id(fingerprint), CONTEXT, &[1; 24], &plaintext);
        for (other_seal, other) in seals.iter().flat_map(|seal| fingerprints.iter().map(move |key| (seal, key))) {
            let (issue, _) = raw::mark(other_seal, other, CONTEXT, &unmarked);
            let token = Token::from_bytes([&unmarked[..], &issue].concat()).expect("a token");
            let same = (other_seal, other) == (seal, fingerprint);
            assert_eq!(sealer.open(token).is_ok(), same);
        }
    }
}

// The seal key.

#[test]
fn whoever_has_the_seal_key_reads_a_token_and_can_change_nothing_in_it() {
    let session = Session::anonymous("data");
    let bytes = session.token.as_bytes();
    let plaintext = read(&session);
    assert!(plaintext.data.windows(4).any(|window| window == b"data"));

    let changes: [fn(&mut Plaintext); 7] = [
        |_| {},
        |plaintext| plaintext.session_id[0] ^= 1,
        |plaintext| plaintext.generation += 1,
        |plaintext| plaintext.issued_at += 1,
        |plaintext| plaintext.expires_at += 1,
        |plaintext| plaintext.meta = raw::meta_of(&OTHER_FINGERPRINT, CONTEXT, "admin"),
        |plaintext| plaintext.data = vec![0xa0],
    ];
    let fingerprint = raw::key_id(&FINGERPRINT);
    for (number, change) in (0_u8..).zip(changes) {
        let mut changed = plaintext.clone();
        change(&mut changed);
        let unmarked = raw::unmarked(&SEAL, fingerprint, CONTEXT, &[number; 24], &changed.to_bytes());
        // With the mark of the captured token, with none, and with those under a fingerprint key of their own.
        let own = raw::mark(&SEAL, &[9; 32], CONTEXT, &unmarked).0;
        for mark in [&bytes[bytes.len() - 16..], &[0; 16], &own] {
            let suspect = suspect(&session.sealer, &[&unmarked, mark].concat());
            assert_eq!(suspect.key(), seal_id(SEAL), "change {number}");
            assert_eq!(suspect.session_id().as_bytes(), &changed.session_id, "change {number}");
            assert!(!suspect.is_damaged(&session.bucket), "change {number}: the key has leaked");
        }
    }
}

#[test]
fn a_token_whose_mark_alone_was_damaged_accuses_no_key() {
    let mut session = Session::anonymous("old");
    let old = session.rotate("new", later(10));
    for token in [&session.token, &old] {
        let mut damaged = token.as_bytes().to_vec();
        *damaged.last_mut().expect("not empty") ^= 1;
        let suspect = suspect(&session.sealer, &damaged);
        assert_eq!((suspect.key(), suspect.session_id()), (seal_id(SEAL), session.bucket.id));
        assert!(suspect.is_damaged(&session.bucket));

        // If the token is of another session, or of one whose bucket has forgotten it, nobody can say so.
        let elsewhere = Bucket { id: SessionId::from_bytes([3; 16]), ..session.bucket.clone() };
        assert!(!suspect.is_damaged(&elsewhere));
        let mut forgetful = session.bucket.clone();
        forgetful.current = Fingerprint::from_bytes([0; 16]);
        forgetful.retired.clear();
        assert!(!suspect.is_damaged(&forgetful));
        // A fingerprint is of one generation.
        let mut renumbered = session.bucket.clone();
        renumbered.generation = 7;
        for Retired { generation, .. } in &mut renumbered.retired {
            *generation = 7;
        }
        assert!(!suspect.is_damaged(&renumbered));
    }
}

#[test]
fn seal_key_and_store_write_make_no_mark_of_the_half_in_the_store() {
    let session = Session::anonymous("data");
    let unmarked = unmarked_of(session.token.as_bytes());
    // The other half of the same HMAC is no mark.
    let kept = *session.bucket.current.as_bytes();
    let suspect = suspect(&session.sealer, &[unmarked, &kept].concat());
    assert!(suspect.is_damaged(&session.bucket), "the token was issued, and is refused all the same");

    let mut changed = read(&session);
    changed.data = vec![0xa0];
    let unmarked = raw::unmarked(&SEAL, raw::key_id(&FINGERPRINT), CONTEXT, &[1; 24], &changed.to_bytes());
    for guess in [[0; 16], kept] {
        let bucket = Bucket { current: Fingerprint::from_bytes(guess), ..session.bucket.clone() };
        let suspect = self::suspect(&session.sealer, &[&unmarked[..], &guess].concat());
        assert!(!suspect.is_damaged(&bucket), "what was not issued is a forgery, whatever the store says");
    }
}

#[test]
fn neither_mark_nor_seal_of_another_context_fits() {
    let sealer = sealer();
    let bytes = read(&Session::anonymous("data")).to_bytes();
    let unmarked = raw::unmarked(&SEAL, raw::key_id(&FINGERPRINT), CONTEXT, &[1; 24], &bytes);
    let (issue, _) = raw::mark(&SEAL, &FINGERPRINT, "session", &unmarked);
    assert_eq!(suspect(&sealer, &[&unmarked[..], &issue].concat()).key(), seal_id(SEAL));

    let unmarked = raw::unmarked(&SEAL, raw::key_id(&FINGERPRINT), "session", &[1; 24], &bytes);
    let (issue, _) = raw::mark(&SEAL, &FINGERPRINT, "session", &unmarked);
    assert_eq!(refused(&sealer, &[&unmarked[..], &issue].concat()), Refusal::NotAuthentic);
}

#[test]
fn the_leaked_seal_key_is_named_whichever_of_the_ring_it_is() {
    let sealer = sealer_of(ring(&[SEAL, OTHER_SEAL], &[FINGERPRINT, OTHER_FINGERPRINT]), CONTEXT);
    let bytes = read(&Session::anonymous("data")).to_bytes();
    let unmarked = raw::unmarked(&OTHER_SEAL, raw::key_id(&FINGERPRINT), CONTEXT, &[1; 24], &bytes);
    let refusal = refused(&sealer, &[&unmarked[..], &[0; 16]].concat());
    assert!(matches!(refusal, Refusal::Unmarked(suspect) if suspect.key() == seal_id(OTHER_SEAL)), "{refusal:?}");
    assert!(refusal.to_string().contains(&seal_id(OTHER_SEAL).to_string()));
}

// Both keys.

#[test]
fn a_wrong_tag_under_a_key_that_has_leaked_names_the_other_key() {
    let session = Session::anonymous("data");
    let mut unmarked = unmarked_of(session.token.as_bytes()).to_vec();
    unmarked[40] ^= 1;
    let (issue, _) = raw::mark(&SEAL, &FINGERPRINT, CONTEXT, &unmarked);
    let token = [&unmarked[..], &issue].concat();
    let (seal, fingerprint) = (SealKey::from_bytes(SEAL), FingerprintKey::from_bytes(FINGERPRINT));
    let builder = || {
        Keyring::builder()
            .seal_key(SealKey::from_bytes(OTHER_SEAL))
            .seal_key(seal.clone())
            .fingerprint_key(FingerprintKey::from_bytes(OTHER_FINGERPRINT))
            .fingerprint_key(fingerprint.clone())
    };
    let forged_fingerprint = Refusal::Forged { kind: KeyKind::Fingerprint, id: fingerprint_id(FINGERPRINT) };
    let forged_seal = Refusal::Forged { kind: KeyKind::Seal, id: seal_id(SEAL) };
    for (builder, expected) in [
        (builder().compromised_seal_key(seal.clone()), forged_fingerprint),
        (builder().compromised_fingerprint_key(fingerprint.clone()), forged_seal),
        (builder().compromised_seal_key(seal.clone()).compromised_fingerprint_key(fingerprint.clone()), forged_seal),
    ] {
        let sealer = sealer_of(builder.build().expect("a ring").into(), CONTEXT);
        assert_eq!(refused(&sealer, &token), expected);
        // Tokens that we did issue open as before.
        assert!(sealer.open(session.token.clone()).is_ok());
    }
}
