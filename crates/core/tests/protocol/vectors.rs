//! Runs the frozen vectors of `testvectors/`.

use std::path::Path;

use secure_sessions_core::{
    Bucket, BucketPolicy, Content, DecodeError, DeviceIdentifier, DeviceKey, DevicePolicy, DeviceTicket, Fingerprint,
    FingerprintKey, Handle, HandoffError, HandoffKey, KeyKind, KeyState, Keyring, Millis, NewBucket, Opened,
    ProviderSession, Refusal, SealKey, Sealer, SessionId, Sizes, SubjectTag, Timestamp, Token, VaultId, Verdict,
};
use serde::de::DeserializeOwned;

use crate::support::random::Replay;
use crate::support::vectors::{
    DataCase, DeviceCase, File, HandoffCase, KeyCase, NegativeCase, TagCase, TokenCase, VaultCase, reference,
};
use crate::support::{fixtures, generate, hex, raw};

const POLICY: BucketPolicy = BucketPolicy { grace: Millis::from_secs(60), touch_step: None };

fn text_of(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testvectors").join(name);
    std::fs::read_to_string(path).expect(name)
}

fn cases<C: DeserializeOwned>(name: &str) -> Vec<C> {
    let file: File<C> = serde_json::from_str(&text_of(name)).expect(name);
    assert!(!file.cases.is_empty(), "{name}");
    file.cases
}

fn handoff_key(text: &str) -> HandoffKey {
    HandoffKey::random(&mut Replay(&hex::decode(text))).expect("32 bytes")
}

fn state(state: KeyState) -> String {
    format!("{state:?}").to_lowercase()
}

/// The bucket that vouches for a token with this id, generation and fingerprint.
fn bucket(id: SessionId, generation: u32, fingerprint: &str, subject: Option<&str>, expires_at: u64) -> Bucket {
    let new = NewBucket {
        id,
        subject: subject.map(|tag| SubjectTag::from_bytes(hex::array(tag))),
        group: None,
        label: None,
        expires_at: Timestamp::from_millis(expires_at),
        idle_timeout: None,
        first: Fingerprint::from_bytes(hex::array(fingerprint)),
    };
    let mut bucket = Bucket::create(new, Timestamp::from_millis(0));
    bucket.generation = generation;
    bucket
}

#[test]
fn making_the_vectors_again_changes_nothing() {
    for (name, text) in generate::files() {
        assert!(
            text == text_of(name),
            "{name} is not what `cargo run -p secure-sessions-core --example generate_vectors` makes of it"
        );
    }
}

#[test]
fn keys_have_their_frozen_ids() {
    for case in cases::<KeyCase>("keys.json") {
        let bytes: [u8; 32] = hex::array(&case.bytes);
        let (id, text) = if let Ok(key) = case.key.parse::<SealKey>() {
            assert_eq!(key.id(), SealKey::from_bytes(bytes).id());
            (key.id(), key.to_text())
        } else {
            let key: FingerprintKey = case.key.parse().expect("a key of one kind");
            assert_eq!(key.id(), FingerprintKey::from_bytes(bytes).id());
            (key.id(), key.to_text())
        };
        assert_eq!(id.to_string(), case.id);
        assert_eq!(*text, case.key);
    }
}

#[test]
fn sealing_with_the_recorded_random_bytes_gives_exactly_the_frozen_tokens() {
    for case in cases::<TokenCase>("token.json") {
        let random = hex::decode(&case.random);
        let mut replay = Replay(&random);
        let content = Content {
            session_id: SessionId::from_bytes(hex::array(&case.session_id)),
            handoff_key: &handoff_key(&case.handoff_key),
            generation: case.generation,
            issued_at: Timestamp::from_millis(case.issued_at),
            expires_at: Timestamp::from_millis(case.expires_at),
            meta: &case.meta.to_meta(),
            data: &case.data(),
        };
        let issued = case.sealer(&case.sealed_by).seal(&content, &mut replay).expect("the recorded bytes suffice");
        assert_eq!(hex::encode(issued.token.as_bytes()), case.token, "{}", case.name);
        assert_eq!(issued.token.encode(), case.cookie, "{}", case.name);
        assert_eq!(hex::encode(issued.fingerprint.as_bytes()), case.fingerprint, "{}", case.name);
        assert_eq!(issued.subject.map(|tag| hex::encode(tag.as_bytes())), case.subject_tag, "{}", case.name);
        assert_eq!(issued.group.map(|tag| hex::encode(tag.as_bytes())), case.group_tag, "{}", case.name);
        assert!(case.token.ends_with(&case.issue_mark), "{}", case.name);
        assert!(replay.0.is_empty(), "{}: {} recorded bytes are left", case.name, replay.0.len());
        assert!(case.context.len() + case.cookie.len() <= case.limit, "{}", case.name);
    }
}

#[test]
fn opening_the_frozen_tokens_gives_exactly_what_went_in() {
    for case in cases::<TokenCase>("token.json") {
        let sealer = case.sealer(&case.keyring);
        let token = Token::decode(case.cookie.as_bytes()).expect("canonical");
        assert_eq!(hex::encode(token.as_bytes()), case.token, "{}", case.name);
        let opened = sealer.open(token).expect("ours");
        assert_eq!(hex::encode(opened.session_id().as_bytes()), case.session_id, "{}", case.name);
        assert_eq!(opened.generation(), case.generation, "{}", case.name);
        assert_eq!(hex::encode(opened.fingerprint().as_bytes()), case.fingerprint, "{}", case.name);

        let id = opened.session_id();
        let bucket = bucket(id, case.generation, &case.fingerprint, case.subject_tag.as_deref(), case.expires_at);
        let now = Timestamp::from_millis(case.expires_at - 1);
        let Verdict::Current(admitted) = sealer.admit(&bucket, opened, now, None, &POLICY) else {
            panic!("{} is not admitted", case.name)
        };
        assert!(admitted.meta == case.meta.to_meta(), "{}", case.name);
        assert_eq!(hex::encode(&admitted.data.to_cbor()), case.data_cbor, "{}", case.name);
        assert_eq!(admitted.issued_at.as_millis(), case.issued_at, "{}", case.name);
        assert_eq!(admitted.expires_at.as_millis(), case.expires_at, "{}", case.name);
        assert_eq!(state(admitted.keys.seal.1), case.seal_key_state, "{}", case.name);
        assert_eq!(state(admitted.keys.fingerprint.1), case.fingerprint_key_state, "{}", case.name);
        // The handoff key has no public form; what it seals shows that it is the right one.
        let random = [9; 24];
        let sealed = [&admitted.handoff_key, &handoff_key(&case.handoff_key)].map(|key| {
            let successor = Token::decode(case.cookie.as_bytes()).expect("canonical");
            sealer.seal_handoff(&id, key, &successor, &mut Replay(&random)).expect("24 bytes")
        });
        assert_eq!(sealed[0], sealed[1], "{}", case.name);
    }
}

#[test]
fn private_values_have_their_frozen_blobs_and_open_to_what_went_in() {
    for case in cases::<VaultCase>("vault.json") {
        let sizes = Sizes::default_for(case.context.len()).expect("the default");
        let ring = Keyring::builder().seal_key(SealKey::from_bytes([9; 32]));
        let ring = ring.fingerprint_key(FingerprintKey::from_bytes([8; 32])).build().expect("any ring");
        let sealer = Sealer::new(ring.into(), &case.context, sizes).expect("a context");
        let reference = reference(&hex::decode(&case.reference));
        let key = reference.blob_key();
        assert_eq!(key.id(), reference.blob_id());
        assert_eq!(hex::encode(key.id().as_bytes()), case.blob_id, "{}", case.name);
        let value = hex::decode(&case.value);
        assert_eq!(hex::encode(&sealer.seal_blob(&key, &value)), case.blob, "{}", case.name);
        let opened = sealer.open_blob(&key, hex::decode(&case.blob)).expect("its own");
        assert_eq!(*opened, *value, "{}", case.name);
        let vault = VaultId::of(&handoff_key(&case.handoff_key));
        assert_eq!(hex::encode(vault.as_bytes()), case.vault_id, "{}", case.name);
    }
}

#[test]
fn the_token_vectors_cover_every_kind_of_case() {
    let cases = cases::<TokenCase>("token.json");
    for part in [
        "empty session",
        "nested",
        "every meta entry",
        "private values",
        "accepted",
        "leaked",
        "largest payload",
        "longest token",
    ] {
        assert!(cases.iter().any(|case| case.name.contains(part)), "{part}");
    }
    let states: std::collections::BTreeSet<_> = cases.iter().map(|case| case.seal_key_state.as_str()).collect();
    assert_eq!(states.into_iter().collect::<Vec<_>>(), ["accepted", "active", "compromised"]);
    let longest = cases.iter().map(|case| case.context.len() + case.cookie.len()).max();
    assert_eq!(longest, Some(4096), "one is as long as browsers keep");
}

#[test]
fn handoffs_give_their_token_or_are_refused_as_frozen() {
    for case in cases::<HandoffCase>("handoff.json") {
        let sizes = Sizes::default_for(case.context.len()).expect("the default");
        let sealer = |ring| Sealer::new(ring, &case.context, sizes.clone()).expect("a context");
        let id = SessionId::from_bytes(hex::array(&case.session_id));
        let key = handoff_key(&case.handoff_key);
        let token = Token::from_bytes(hex::decode(&case.token)).expect("a token");

        let mut bucket = bucket(id, case.generation, &case.fingerprint, None, u64::MAX);
        bucket.handoff = Some(hex::decode(&case.handoff));
        let followed = sealer(case.keyring.ring()).follow(&bucket, &key, Timestamp::from_millis(0), None);
        if let Some(refused) = &case.refused {
            assert_eq!(refused, "tampered");
            assert!(matches!(followed, Err(HandoffError::Tampered)), "{}", case.name);
            continue;
        }
        let (admitted, followed) = followed.expect("ours");
        assert!(followed == token, "{}", case.name);
        assert_eq!(admitted.generation, case.generation);

        let fingerprint_key: FingerprintKey = case.keyring.fingerprint[0].parse().expect("a key");
        let ring = Keyring::builder().seal_key(case.sealed_by.parse().expect("a key")).fingerprint_key(fingerprint_key);
        let sealer = sealer(ring.build().expect("a ring").into());
        let random = hex::decode(&case.random);
        let sealed = sealer.seal_handoff(&id, &key, &token, &mut Replay(&random)).expect("24 bytes");
        assert_eq!(hex::encode(&sealed), case.handoff, "{}", case.name);
    }
}

#[test]
fn tags_handles_csrf_tokens_labels_and_bindings_are_as_frozen() {
    for case in cases::<TagCase>("tags.json") {
        let ring = Keyring::builder()
            .seal_key(SealKey::from_bytes([1; 32]))
            .fingerprint_key(case.key.parse().expect("a key"))
            .build()
            .expect("a ring");
        let id = SessionId::from_bytes(hex::array(&case.session_id));
        let ring = std::sync::Arc::new(ring);
        let sizes = Sizes::default_for(case.context.len()).expect("the default");
        let sealer = Sealer::new(ring.clone(), &case.context, sizes).expect("a context");
        assert_eq!(hex::encode(sealer.subject_tag(&case.subject).as_bytes()), case.subject_tag);
        let session = ProviderSession::new(&case.issuer, &case.sid).expect("a session");
        assert_eq!(hex::encode(session.as_bytes()), case.provider_session);
        assert_eq!(hex::encode(sealer.group_tag(&session).as_bytes()), case.group_tag);
        let handle: Handle = case.handle.parse().expect("a handle");
        assert_eq!(ring.handle(&id), handle);

        let mask = hex::decode(&case.csrf_mask);
        assert_eq!(ring.csrf_token(&id, &mut Replay(&mask)).expect("32 bytes"), case.csrf_token);
        assert!(ring.is_csrf_token_of(&case.csrf_token, &id));
        let masked: Vec<u8> = mask.iter().zip(hex::decode(&case.csrf_secret)).map(|(a, b)| a ^ b).collect();
        assert_eq!(raw::base64url(&[mask, masked].concat()), case.csrf_token);

        let nonce = hex::decode(&case.label_nonce);
        let sealed = ring.seal_label(&id, &case.label, &mut Replay(&nonce)).expect("24 bytes");
        assert_eq!(hex::encode(&sealed), case.label_sealed);
        assert_eq!(ring.open_label(&id, &sealed).as_ref(), Some(&case.label));
        let binding = ring.bind(&id, case.label.as_bytes());
        assert_eq!(hex::encode(&binding), case.binding);
        assert!(ring.is_bound_to(&binding, &id, case.label.as_bytes()));
    }
}

#[test]
fn devices_their_stamped_texts_and_their_proofs_are_as_frozen() {
    let policy = |life| DevicePolicy { ticket_life: Millis::new(life), grace: Millis::from_secs(60) };
    for case in cases::<DeviceCase>("device.json") {
        let ring = Keyring::builder()
            .seal_key(SealKey::from_bytes([1; 32]))
            .fingerprint_key(case.key.parse().expect("a key"))
            .build()
            .expect("a ring");
        let sealer = Sealer::new(ring.into(), "x", Sizes::default_for(1).expect("the default")).expect("a context");
        let (ring, policy, now) = (sealer.keyring(), policy(case.ticket_life), Timestamp::from_millis(case.now));
        let key = DeviceKey::from_bytes(hex::array(&case.public_key));
        let handle: Handle = case.handle.parse().expect("a handle");
        assert_eq!(ring.handle(&SessionId::from_bytes(hex::array(&case.session_id))), handle);
        assert_eq!(hex::encode(key.id().as_bytes()), case.device);

        let identifier = ring.read_identifier(case.identifier.as_bytes()).expect("an identifier");
        let handle = Some(handle);
        assert!(identifier == DeviceIdentifier { key, handle });
        let ticket = ring.read_ticket(case.ticket.as_bytes()).expect("a ticket");
        assert!(ticket == DeviceTicket { not_after: now.after(policy.ticket_life), device: key.id(), handle });
        assert_eq!(ring.issue_ticket(key.id(), handle, now, &policy), case.ticket);
        assert_eq!(ring.issue_identifier(&identifier), case.identifier);
        assert_eq!(
            ring.registration_challenge(case.handle.parse().expect("a handle"), now),
            case.registration_challenge
        );
        assert_eq!(ring.refresh_challenge(key.id(), now), case.refresh_challenge);
        assert_eq!(ring.dpop_nonce(now), case.dpop_nonce);
        let registered = sealer.register_device(case.registration_proof.as_bytes(), now, &policy);
        assert!(registered.expect("its own key") == identifier);
        sealer.prove_device(case.refresh_proof.as_bytes(), &identifier, now, &policy).expect("its own key");
    }
}

/// The content of a token is read only when its bucket vouches for it; this bucket would.
fn judged(sealer: &Sealer, opened: Opened) -> &'static str {
    let fingerprint = hex::encode(opened.fingerprint().as_bytes());
    let bucket = bucket(opened.session_id(), opened.generation(), &fingerprint, None, u64::MAX);
    match sealer.admit(&bucket, opened, Timestamp::from_millis(0), None, &POLICY) {
        Verdict::Critical { .. } => "critical",
        Verdict::Tampered => "malformed",
        _ => "admitted",
    }
}

#[test]
fn refused_cookie_values_are_refused_for_the_frozen_reason() {
    for case in cases::<NegativeCase>("negative.json") {
        let sizes = Sizes::default_for(case.context.len()).expect("the default");
        let sealer = Sealer::new(case.keyring.ring(), &case.context, sizes).expect("a context");
        let refused = match Token::decode(case.cookie.as_bytes()).map(|token| sealer.open(token)) {
            Err(DecodeError::TooShort { .. }) => "too_short",
            Err(DecodeError::TooLong { .. }) => "too_long",
            Err(DecodeError::NotCanonical) => "not_canonical",
            Err(DecodeError::Version { .. }) => "version",
            Err(DecodeError::LaterVersion { .. }) => "later_version",
            Ok(Err(Refusal::UnknownKey { kind: KeyKind::Seal, .. })) => "unknown_seal_key",
            Ok(Err(Refusal::UnknownKey { kind: KeyKind::Fingerprint, .. })) => "unknown_fingerprint_key",
            Ok(Err(Refusal::NotAuthentic)) => "not_authentic",
            Ok(Err(Refusal::Unmarked(_))) => "unmarked",
            Ok(Err(Refusal::Forged { .. })) => "forged",
            Ok(Err(Refusal::Malformed)) => "malformed",
            Ok(Ok(opened)) => judged(&sealer, opened),
            Err(_) | Ok(Err(_)) => "a reason that this test does not know",
        };
        assert_eq!(refused, case.refused, "{}", case.name);
    }
}

#[test]
fn data_maps_of_other_writers_give_what_the_frozen_reader_finds() {
    let sealer = fixtures::sealer();
    for case in cases::<DataCase>("data.json") {
        let plaintext = raw::Plaintext {
            session_id: [1; 16],
            handoff_key: [2; 32],
            generation: 1,
            issued_at: 0,
            expires_at: u64::MAX,
            meta: vec![0xa0],
            data: hex::decode(&case.data_cbor),
            bloat: vec![3; 32],
        };
        let (token, fingerprint) =
            raw::token(&fixtures::SEAL, &fixtures::FINGERPRINT, fixtures::CONTEXT, &[4; 24], &plaintext.to_bytes());
        let opened = sealer.open(Token::from_bytes(token).expect("a token")).expect("with our keys");
        let bucket = bucket(opened.session_id(), 1, &hex::encode(&fingerprint), None, u64::MAX);
        let verdict = sealer.admit(&bucket, opened, Timestamp::from_millis(0), None, &POLICY);
        let Verdict::Current(admitted) = verdict else { panic!("{}: {verdict:?}", case.name) };
        let found: Vec<_> = admitted.data.iter().map(|(key, value)| (key.to_owned(), hex::encode(value))).collect();
        assert_eq!(found, case.entries, "{}", case.name);
        for (key, value) in &case.entries {
            assert_eq!(admitted.data.get_encoded(key).map(hex::encode).as_ref(), Some(value), "{}", case.name);
        }
        assert_eq!(hex::encode(&admitted.data.to_cbor()), case.data_cbor, "{}", case.name);
    }
}
