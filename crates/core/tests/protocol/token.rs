//! Opening: the tokens that open, and the reasons why others do not, with stolen keys, changed bytes and other contexts.

use proptest::prelude::*;
use secure_sessions_core::{
    Aead, DecodeError, FingerprintKey, KeyKind, KeyState, Keyring, Opened, Refusal, SealKey, Sealer, Token, format,
};

use crate::support::fixtures::{CONTEXT, FINGERPRINT, SEAL, START, Session, ring, sealer, sealer_of};
use crate::support::raw::{self, Plaintext};

const OTHER_SEAL: [u8; 32] = [0x52; 32];
const OTHER_FINGERPRINT: [u8; 32] = [0xf2; 32];

fn open(sealer: &Sealer, bytes: &[u8]) -> Result<Opened, Refusal> {
    sealer.open(Token::from_bytes(bytes.to_vec()).expect("a plausible length and version"))
}

fn refused(sealer: &Sealer, bytes: &[u8]) -> Refusal {
    open(sealer, bytes).expect_err("no token of ours")
}

fn seal_id(key: [u8; 32]) -> secure_sessions_core::KeyId {
    SealKey::from_bytes(key).id()
}

fn fingerprint_id(key: [u8; 32]) -> secure_sessions_core::KeyId {
    FingerprintKey::from_bytes(key).id()
}

// One spelling.

proptest! {
    #[test]
    fn decoding_and_encoding_give_the_same_text(
        rest in prop::collection::vec(any::<u8>(), format::MIN_TOKEN - 1..format::MAX_TOKEN),
    ) {
        let bytes = [&[format::VERSION], &rest[..]].concat();
        let token = Token::from_bytes(bytes.clone()).expect("a plausible length and version");
        let text = token.encode();
        prop_assert_eq!(&text, &raw::base64url(&bytes));
        let again = Token::decode(text.as_bytes()).expect("its own text");
        prop_assert_eq!(again.as_bytes(), &bytes[..]);
        let mut appended = "name=".to_owned();
        token.encode_into(&mut appended);
        prop_assert_eq!(appended, format!("name={text}"));
    }

    #[test]
    fn whatever_text_decodes_is_written_the_same(text in "A[Q-Za-f][-_A-Za-z0-9 =%\"+/]{0,6}[-_A-Za-z0-9]{226,3000}") {
        if let Ok(token) = Token::decode(text.as_bytes()) {
            prop_assert_eq!(token.encode(), text);
        }
    }

    #[test]
    fn no_bytes_make_decoding_or_opening_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let sealer = sealer();
        let _ = Token::decode(&bytes);
        if let Ok(token) = Token::from_bytes(bytes) {
            prop_assert!(sealer.open(token).is_err());
        }
    }

    #[test]
    fn no_plaintext_makes_opening_or_admission_panic_though_both_keys_sealed_it(
        plaintext in prop::collection::vec(any::<u8>(), format::MIN_PLAINTEXT..400),
        lengths in prop::option::of((0..200_u16, 0..200_u16)),
    ) {
        let mut plaintext = plaintext;
        if let Some((meta, data)) = lengths {
            plaintext[68..70].copy_from_slice(&meta.to_be_bytes());
            let at = 70 + usize::from(meta);
            if let Some(length) = plaintext.get_mut(at..at + 2) {
                length.copy_from_slice(&data.to_be_bytes());
            }
        }
        let (token, fingerprint) = raw::token(&SEAL, &FINGERPRINT, CONTEXT, &[1; 24], &plaintext);
        let mut session = Session::anonymous("");
        match open(&session.sealer, &token) {
            Ok(opened) => {
                prop_assert_eq!(*opened.fingerprint().as_bytes(), fingerprint);
                // Even a bucket that vouches for it makes no more of it than it is.
                session.bucket.id = opened.session_id();
                session.bucket.generation = opened.generation();
                session.bucket.current = opened.fingerprint();
                session.present(&Token::from_bytes(token).expect("a token"), START);
            }
            Err(refusal) => prop_assert_eq!(refusal, Refusal::Malformed),
        }
    }
}

// Changed on the way.

#[test]
fn a_bit_flipped_at_any_position_never_opens_and_the_reason_fits_the_place() {
    let session = Session::anonymous("data");
    let bytes = session.token.as_bytes();
    for place in 0..bytes.len() * 8 {
        let at = place / 8;
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (place % 8);
        let Ok(token) = Token::from_bytes(changed) else {
            assert_eq!(at, 0, "only a version is refused this early");
            continue;
        };
        let refusal = session.sealer.open(token).expect_err("changed");
        let fits = match at {
            1..5 => matches!(refusal, Refusal::UnknownKey { kind: KeyKind::Seal, .. }),
            5..9 => matches!(refusal, Refusal::UnknownKey { kind: KeyKind::Fingerprint, .. }),
            // The seal fits and the mark does not: the bucket can tell that it was damaged.
            _ if at >= bytes.len() - 16 => {
                matches!(refusal, Refusal::Unmarked(suspect) if suspect.is_damaged(&session.bucket))
            }
            _ => refusal == Refusal::NotAuthentic,
        };
        assert!(fits, "bit {place}: {refusal:?}");
    }
}

#[test]
fn a_character_changed_at_any_position_never_opens() {
    let session = Session::anonymous("data");
    let text = session.token.encode();
    for place in 0..text.len() {
        for other in [b'A', b'z', b'-', b'=', b' ', b'%', 0, 0xff] {
            let mut changed = text.clone().into_bytes();
            if changed[place] != other {
                changed[place] = other;
                let opened = Token::decode(&changed).map(|token| session.sealer.open(token).is_ok());
                assert_ne!(opened, Ok(true), "character {place}");
            }
        }
    }
}

#[test]
fn cut_off_or_lengthened_anywhere_it_never_opens() {
    let session = Session::anonymous("data");
    let (bytes, text) = (session.token.as_bytes(), session.token.encode());
    for length in 0..bytes.len() {
        match Token::from_bytes(bytes[..length].to_vec()) {
            Err(error) => assert!(matches!(error, DecodeError::TooShort { .. }) && length < format::MIN_TOKEN),
            Ok(token) => assert_eq!(session.sealer.open(token).expect_err("cut off"), Refusal::NotAuthentic),
        }
    }
    for length in 0..text.len() {
        let opened = Token::decode(&text.as_bytes()[..length]).map(|token| session.sealer.open(token).is_ok());
        assert_ne!(opened, Ok(true), "{length} characters");
    }
    for extra in 1..40 {
        let longer = [bytes, &vec![0; extra][..]].concat();
        assert_eq!(refused(&session.sealer, &longer), Refusal::NotAuthentic);
    }
}

#[test]
fn the_length_is_checked_before_anything_else() {
    assert_eq!(Token::decode(b"").expect_err("empty"), DecodeError::TooShort { length: 0 });
    assert_eq!(Token::decode(b"!").expect_err("short"), DecodeError::TooShort { length: 1 });
    let megabyte = vec![b'!'; 1 << 20];
    assert_eq!(Token::decode(&megabyte).expect_err("long"), DecodeError::TooLong { length: 1 << 20 });
}

#[test]
fn the_shortest_and_the_longest_token_are_decoded_and_none_beyond() {
    for length in [format::MIN_TOKEN - 1, format::MIN_TOKEN, format::MAX_TOKEN, format::MAX_TOKEN + 1] {
        let bytes = vec![format::VERSION; length];
        let text = raw::base64url(&bytes);
        let refused = match length {
            ..format::MIN_TOKEN => Some(DecodeError::TooShort { length: text.len() }),
            format::MIN_TOKEN..=format::MAX_TOKEN => None,
            _ => Some(DecodeError::TooLong { length: text.len() }),
        };
        assert_eq!(Token::decode(text.as_bytes()).err(), refused, "{length} bytes");
        assert_eq!(Token::from_bytes(bytes).err(), refused, "{length} bytes");
    }
}

#[test]
fn a_token_of_another_context_never_opens() {
    let session = Session::anonymous("data");
    for context in ["__Host-sessio", "__Host-session2", "session", "bearer:__Host-session", "\0"] {
        let other = sealer_of(ring(&[SEAL], &[FINGERPRINT]), context);
        assert_eq!(refused(&other, session.token.as_bytes()), Refusal::NotAuthentic, "{context}");
    }
}

#[test]
fn a_version_above_ours_is_told_apart_from_one_that_never_was() {
    let mut bytes = Session::anonymous("data").token.as_bytes().to_vec();
    for version in [0, 2, 3, 255] {
        bytes[0] = version;
        let expected = match version {
            0 => DecodeError::Version { version },
            _ => DecodeError::LaterVersion { version },
        };
        assert_eq!(Token::from_bytes(bytes.clone()).expect_err("another version"), expected);
        assert_eq!(Token::decode(raw::base64url(&bytes).as_bytes()).expect_err("another version"), expected);
    }
}

fn plaintext() -> Plaintext {
    let session = Session::anonymous("data");
    raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("the thief has the seal key")
}

#[test]
fn what_the_second_implementation_seals_with_both_keys_opens() {
    let (token, fingerprint) = raw::token(&SEAL, &FINGERPRINT, CONTEXT, &[1; 24], &plaintext().to_bytes());
    let opened = open(&sealer(), &token).expect("the same format");
    assert_eq!(opened.fingerprint().as_bytes(), &fingerprint);
}

#[test]
fn every_implementation_opens_what_every_other_one_sealed() {
    let session = Session::anonymous("data");
    for sealer in [sealer().with_aead(Aead::RustCrypto), fastest()] {
        let opened = open(&sealer, session.token.as_bytes()).expect("the same format");
        assert_eq!(opened.fingerprint().as_bytes(), session.bucket.current.as_bytes());
        let other = Session::new(sealer, None, "data");
        assert!(other.token == session.token, "from the same random bytes, the same token");
    }
}

#[cfg(feature = "ring")]
fn fastest() -> Sealer {
    sealer().with_aead(Aead::Ring)
}

#[cfg(not(feature = "ring"))]
fn fastest() -> Sealer {
    sealer()
}

// Keys and their states.

#[test]
fn a_key_that_is_not_in_the_ring_is_named_by_kind_and_id() {
    let session = Session::anonymous("data");
    let bytes = session.token.as_bytes();
    let without_seal = sealer_of(ring(&[OTHER_SEAL], &[FINGERPRINT]), CONTEXT);
    assert_eq!(refused(&without_seal, bytes), Refusal::UnknownKey { kind: KeyKind::Seal, id: seal_id(SEAL) });
    let without_fingerprint = sealer_of(ring(&[SEAL], &[OTHER_FINGERPRINT]), CONTEXT);
    assert_eq!(
        refused(&without_fingerprint, bytes),
        Refusal::UnknownKey { kind: KeyKind::Fingerprint, id: fingerprint_id(FINGERPRINT) }
    );
}

#[test]
fn an_id_never_picks_a_key_of_the_other_kind() {
    let session = Session::anonymous("data");
    let mut swapped = session.token.as_bytes().to_vec();
    swapped[1..5].copy_from_slice(&raw::key_id(&FINGERPRINT));
    let id = fingerprint_id(FINGERPRINT);
    assert_eq!(refused(&session.sealer, &swapped), Refusal::UnknownKey { kind: KeyKind::Seal, id });
}

#[test]
fn an_accepted_key_opens_and_is_outdated_and_the_active_one_seals() {
    let session = Session::anonymous("data");
    let newer = sealer_of(ring(&[OTHER_SEAL, SEAL], &[OTHER_FINGERPRINT, FINGERPRINT]), CONTEXT);
    let keys = open(&newer, session.token.as_bytes()).expect("accepted").sealed_under();
    assert_eq!(keys.seal, (seal_id(SEAL), KeyState::Accepted));
    assert_eq!(keys.fingerprint, (fingerprint_id(FINGERPRINT), KeyState::Accepted));
    assert!(keys.is_outdated() && keys.compromised().is_none());

    let fresh = Session::new(newer, None, "data");
    let keys = open(&fresh.sealer, fresh.token.as_bytes()).expect("its own").sealed_under();
    assert_eq!((keys.seal.0, keys.fingerprint.0), (seal_id(OTHER_SEAL), fingerprint_id(OTHER_FINGERPRINT)));
    assert!(!keys.is_outdated());
}

#[test]
fn a_compromised_key_opens_and_is_reported() {
    let session = Session::anonymous("data");
    let builder = || Keyring::builder().seal_key(SealKey::from_bytes(OTHER_SEAL));
    let leaked_seal = builder()
        .fingerprint_key(FingerprintKey::from_bytes(FINGERPRINT))
        .compromised_seal_key(SealKey::from_bytes(SEAL))
        .build()
        .expect("a ring");
    let sealer = sealer_of(leaked_seal.into(), CONTEXT);
    let keys = open(&sealer, session.token.as_bytes()).expect("a bucket may vouch for it").sealed_under();
    assert_eq!(keys.compromised(), Some((KeyKind::Seal, seal_id(SEAL))));
    assert!(keys.is_outdated());
    // Forging with it is no easier for all that.
    let unmarked = raw::unmarked(&SEAL, raw::key_id(&FINGERPRINT), CONTEXT, &[1; 24], &plaintext().to_bytes());
    let refusal = refused(&sealer, &[&unmarked[..], &[0; 16]].concat());
    assert!(matches!(refusal, Refusal::Unmarked(suspect) if suspect.key() == seal_id(SEAL)), "{refusal:?}");

    let leaked_fingerprint = builder()
        .seal_key(SealKey::from_bytes(SEAL))
        .fingerprint_key(FingerprintKey::from_bytes(OTHER_FINGERPRINT))
        .compromised_fingerprint_key(FingerprintKey::from_bytes(FINGERPRINT))
        .build()
        .expect("a ring");
    let sealer = sealer_of(leaked_fingerprint.into(), CONTEXT);
    let keys = open(&sealer, session.token.as_bytes()).expect("a bucket may vouch for it").sealed_under();
    assert_eq!(keys.compromised(), Some((KeyKind::Fingerprint, fingerprint_id(FINGERPRINT))));
}
