//! Device-bound sessions: which proofs, tickets, identifiers and challenges are accepted, and why the others are not.

use forge::device::Device;
use secure_sessions_core::format::MAX_PROOF_LEN;
use secure_sessions_core::{
    Aead, DPOP_NONCE_LIFE, DeviceIdentifier, DeviceKey, DevicePolicy, DpopRequest, FingerprintKey, Handle, Keyring,
    Millis, ProofError, SealKey, Sealer, SessionId, Sizes, StampError, Timestamp,
};

const POLICY: DevicePolicy = DevicePolicy { ticket_life: Millis::from_secs(600), grace: Millis::from_secs(60) };
const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

fn ring(fingerprint_keys: &[u8]) -> Keyring {
    let builder = Keyring::builder().seal_key(SealKey::from_bytes([99; 32]));
    let keys = fingerprint_keys.iter().map(|key| FingerprintKey::from_bytes([*key; 32]));
    keys.fold(builder, |builder, key| builder.fingerprint_key(key)).build().expect("a ring")
}

fn sealer(aead: Aead) -> Sealer {
    Sealer::new(ring(&[1]).into(), "x", Sizes::default_for(1).expect("the default")).expect("a context").with_aead(aead)
}

/// Both providers where `ring` is available: they must agree on every proof.
fn sealers() -> Vec<Sealer> {
    #[cfg(feature = "ring")]
    let all = vec![sealer(Aead::RustCrypto), sealer(Aead::Ring)];
    #[cfg(not(feature = "ring"))]
    let all = vec![sealer(Aead::RustCrypto)];
    all
}

fn device(seed: u8) -> Device {
    Device::new(&[seed; 32])
}

fn handle(seed: u8) -> Handle {
    ring(&[1]).handle(&SessionId::from_bytes([seed; 16]))
}

fn later(seconds: u64) -> Timestamp {
    NOW.after(Millis::from_secs(seconds))
}

fn identifier(device: &Device) -> DeviceIdentifier {
    DeviceIdentifier { key: DeviceKey::from_bytes(device.public_key()), handle: Some(handle(7)) }
}

#[test]
fn a_registration_gives_the_key_that_signed_it_and_its_session() {
    for sealer in sealers() {
        let challenge = sealer.keyring().registration_challenge(handle(7), NOW);
        let proof = device(1).registration(&challenge, &handle(7).to_string());
        let register = |at| sealer.register_device(proof.as_bytes(), at, &POLICY);
        assert_eq!(register(NOW), Ok(identifier(&device(1))));
        assert_eq!(register(later(660)), Ok(identifier(&device(1))), "a ticket life and a grace later");
        assert_eq!(register(later(661)), Err(ProofError::Stale));
        // A host whose clock is behind that of the one that issued the challenge.
        assert_eq!(register(Timestamp::from_millis(NOW.as_millis() - 60_000)), Ok(identifier(&device(1))));
        assert_eq!(register(Timestamp::from_millis(NOW.as_millis() - 60_001)), Err(ProofError::Stale));
    }
}

#[test]
fn a_refresh_is_proved_by_the_identifiers_own_key_alone() {
    for sealer in sealers() {
        let challenge = sealer.keyring().refresh_challenge(identifier(&device(1)).key.id(), NOW);
        let prove = |proof: &str, of: &Device, at| sealer.prove_device(proof.as_bytes(), &identifier(of), at, &POLICY);
        let proof = device(1).refresh(&challenge);
        assert_eq!(prove(&proof, &device(1), NOW), Ok(()));
        assert_eq!(prove(&proof, &device(1), later(661)), Err(ProofError::Stale));
        let not_ours = Err(ProofError::Challenge(StampError::NotOurs));
        assert_eq!(prove(&proof, &device(2), NOW), not_ours, "the challenge is one device's");
        assert_eq!(prove(&device(2).refresh(&challenge), &device(1), NOW), Err(ProofError::Signature));
        let registration = sealer.keyring().registration_challenge(handle(7), NOW);
        assert_eq!(prove(&device(1).refresh(&registration), &device(1), NOW), not_ours, "of the other purpose");
    }
}

#[test]
fn proofs_that_are_not_as_browsers_make_them_are_refused() {
    let (device, other) = (device(1), device(2));
    let (session, jwk) = (handle(7).to_string(), device.jwk());
    for sealer in sealers() {
        let challenge = sealer.keyring().registration_challenge(handle(7), NOW);
        let header = format!(r#"{{"alg":"ES256","jwk":{jwk},"typ":"dbsc+jwt"}}"#);
        let claims = format!(r#"{{"authorization":"{session}","jti":"{challenge}"}}"#);
        let good = device.sign(&header, &claims);
        let register = |proof: &str| sealer.register_device(proof.as_bytes(), NOW, &POLICY);
        assert_eq!(register(&good), Ok(identifier(&device)));
        // Members that the draft does not have yet are no reason to refuse it.
        let more = claims.replace('{', r#"{"aud":"https://example.org","iat":1,"sub":"x","#);
        assert_eq!(register(&device.sign(&header, &more)), Ok(identifier(&device)));

        let signed = |header: &str, claims: &str| register(&device.sign(header, claims)).expect_err(header);
        let with_header = |from: &str, to: &str| signed(&header.replace(from, to), &claims);
        let with_claims = |from: &str, to: &str| signed(&header, &claims.replace(from, to));
        for algorithm in ["none", "None", "HS256", "ES384", "RS256", "es256", ""] {
            assert_eq!(with_header("ES256", algorithm), ProofError::Algorithm, "{algorithm}");
        }
        let unsigned = format!("{}.", good.rsplit_once('.').expect("three parts").0);
        assert_eq!(register(&unsigned), Err(ProofError::Malformed));
        for typ in ["jwt", "JWT", "dpop+jwt", "DBSC+JWT", "application/dbsc+jwt"] {
            assert_eq!(with_header("dbsc+jwt", typ), ProofError::Type, "{typ}");
        }
        assert_eq!(with_header(r#""typ""#, r#""crit":["exp"],"typ""#), ProofError::Critical);
        assert_eq!(with_header(&format!(r#","jwk":{jwk}"#), ""), ProofError::KeyMissing);
        assert_eq!(with_header("EC", "RSA"), ProofError::Key);
        assert_eq!(with_header("P-256", "P-384"), ProofError::Key);
        assert_eq!(with_header(r#""x":""#, r#""x":"A"#), ProofError::Key);
        assert_eq!(with_header(r#""y""#, r#""z""#), ProofError::Key);
        assert_eq!(with_header(&jwk, &other.jwk()), ProofError::Signature, "the key of another device");
        assert_eq!(with_claims(&session, "nobody"), ProofError::Session);
        assert_eq!(with_claims("authorization", "auth"), ProofError::Session);
        let another = handle(8).to_string();
        assert_eq!(with_claims(&session, &another), ProofError::Challenge(StampError::NotOurs));
        assert_eq!(with_claims(&challenge, "abc"), ProofError::Challenge(StampError::Malformed));

        // JSON that is not one object each, or says something twice.
        for (from, to) in
            [(r#""typ""#, r#""alg":"ES256","typ""#), (r#""alg":"ES256","#, ""), (r#""typ":"dbsc+jwt""#, "")]
        {
            assert_eq!(with_header(from, to), ProofError::Malformed, "{to}");
        }
        for header in ["", "{", "null", r#"["ES256","dbsc+jwt",null,null]"#, &format!("{header}x")] {
            assert_eq!(signed(header, &claims), ProofError::Malformed, "{header}");
        }
        assert_eq!(with_claims(r#""jti""#, r#""jwt""#), ProofError::Malformed);
        for proof in ["", ".", "..", "a.b", &format!("{good}."), &format!("{good}.x"), &good.replace('.', "")] {
            assert_eq!(register(proof), Err(ProofError::Malformed), "{proof}");
        }
        for proof in [&format!("{good}A"), &format!("{good}="), &format!("{good} "), &format!(" {good}")] {
            assert_eq!(register(proof), Err(ProofError::Malformed), "{proof}");
        }
        assert_eq!(register(&format!("\"{good}\"")), Err(ProofError::Malformed));
        let length = MAX_PROOF_LEN + 1;
        assert_eq!(register(&"A".repeat(length)), Err(ProofError::TooLong { length }));
        let padded = header.replace("EC", &format!("EC{}", "x".repeat(MAX_PROOF_LEN / 2)));
        assert_eq!(signed(&padded, &claims), ProofError::Key, "a long one is read");

        let refresh = sealer.keyring().refresh_challenge(identifier(&device).key.id(), NOW);
        let with_key = device.sign(&header, &format!(r#"{{"jti":"{refresh}"}}"#));
        let proved = sealer.prove_device(with_key.as_bytes(), &identifier(&device), NOW, &POLICY);
        assert_eq!(proved, Err(ProofError::KeyUnwanted));
    }
}

/// Each proof here is signed by the wrong key too, which nobody finds out.
#[test]
fn no_signature_is_verified_for_a_challenge_that_is_not_ours_or_too_old() {
    let (device, other) = (device(1), device(2));
    let (own, session) = (identifier(&device), handle(7).to_string());
    let not_ours = ProofError::Challenge(StampError::NotOurs);
    let too_late = NOW.after(POLICY.challenge_life()).after(Millis::new(1));
    for sealer in sealers() {
        let keyring = sealer.keyring();
        let header = format!(r#"{{"alg":"ES256","jwk":{},"typ":"dbsc+jwt"}}"#, device.jwk());
        let registers = |challenge: &str, at| {
            let proof = other.sign(&header, &format!(r#"{{"authorization":"{session}","jti":"{challenge}"}}"#));
            sealer.register_device(proof.as_bytes(), at, &POLICY).expect_err("the wrong key")
        };
        let challenge = keyring.registration_challenge(handle(7), NOW);
        assert_eq!(registers(&challenge, NOW), ProofError::Signature);
        assert_eq!(registers(&challenge, too_late), ProofError::Stale);
        assert_eq!(registers(&keyring.registration_challenge(handle(8), NOW), NOW), not_ours);

        let refreshes = |challenge: &str, at| {
            let proof = other.refresh(challenge);
            sealer.prove_device(proof.as_bytes(), &own, at, &POLICY).expect_err("the wrong key")
        };
        let challenge = keyring.refresh_challenge(own.key.id(), NOW);
        assert_eq!(refreshes(&challenge, NOW), ProofError::Signature);
        assert_eq!(refreshes(&challenge, too_late), ProofError::Stale);
        assert_eq!(refreshes(&keyring.refresh_challenge(identifier(&other).key.id(), NOW), NOW), not_ours);

        let origins = ["https://api.example.org".to_owned()];
        let request = DpopRequest { method: "GET", path: "/", origins: &origins, token: None };
        let header = format!(r#"{{"alg":"ES256","jwk":{},"typ":"dpop+jwt"}}"#, device.jwk());
        let proves = |nonce: &str, at| {
            let claims = forge::device::dpop_claims("GET", "https://api.example.org/", nonce, None);
            let proof = other.sign(&header, &claims);
            sealer.prove_possession(proof.as_bytes(), &request, at).expect_err("the wrong key")
        };
        let nonce = keyring.dpop_nonce(NOW);
        assert_eq!(proves(&nonce, NOW), ProofError::Signature);
        assert_eq!(proves(&nonce, NOW.after(DPOP_NONCE_LIFE).after(Millis::new(1))), ProofError::Stale);
        assert_eq!(proves(&challenge, NOW), not_ours);
    }
}

#[test]
fn a_public_key_that_is_not_on_the_curve_is_refused() {
    let (device, session) = (device(1), handle(7).to_string());
    let ones = forge::base64url(&[1; 32]);
    let zeros = forge::base64url(&[0; 32]);
    let above = forge::base64url(&[0xff; 32]);
    for sealer in sealers() {
        let challenge = sealer.keyring().registration_challenge(handle(7), NOW);
        for (x, y) in [(&ones, &ones), (&zeros, &zeros), (&above, &ones), (&above, &above)] {
            let header =
                format!(r#"{{"alg":"ES256","jwk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}},"typ":"dbsc+jwt"}}"#);
            let proof = device.sign(&header, &format!(r#"{{"jti":"{challenge}","authorization":"{session}"}}"#));
            let refused = sealer.register_device(proof.as_bytes(), NOW, &POLICY).expect_err("no point");
            assert!(matches!(refused, ProofError::Key | ProofError::Signature), "{refused}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    let sealer = sealer(Aead::default());
    let challenge = sealer.keyring().refresh_challenge(identifier(&device(1)).key.id(), NOW);
    let proof = device(1).refresh(&challenge).into_bytes();
    for at in 0..proof.len() {
        for bit in [0x01, 0x20] {
            let mut changed = proof.clone();
            changed[at] ^= bit;
            let refused = sealer.prove_device(&changed, &identifier(&device(1)), NOW, &POLICY);
            assert!(refused.is_err(), "{at} {bit}");
        }
    }
}

#[test]
fn a_ticket_is_good_for_its_life_and_a_grace_and_no_longer() {
    let (ring, device) = (ring(&[1]), identifier(&device(1)).key.id());
    let ticket =
        ring.read_ticket(ring.issue_ticket(device, Some(handle(7)), NOW, &POLICY).as_bytes()).expect("our own");
    assert_eq!((ticket.device, ticket.handle, ticket.proved_at(&POLICY)), (device, Some(handle(7)), NOW));
    for (at, is_good) in [(0, true), (600, true), (660, true), (661, false), (100_000, false)] {
        assert_eq!(ticket.is_good(later(at), &POLICY), is_good, "{at} s");
    }
    // A host whose clock is ahead, or whose policy differs, issued it: it would be good for longer than a ticket is.
    assert!(ticket.is_good(Timestamp::from_millis(NOW.as_millis() - 60_000), &POLICY));
    assert!(!ticket.is_good(Timestamp::from_millis(NOW.as_millis() - 60_001), &POLICY));
    let shorter = DevicePolicy { ticket_life: Millis::from_secs(300), ..POLICY };
    assert!(!ticket.is_good(NOW, &shorter));
}

#[test]
fn stamped_texts_are_of_one_purpose_one_spelling_and_a_key_of_the_ring() {
    let (old, both, new) = (ring(&[1]), ring(&[2, 1]), ring(&[2]));
    let identifier = identifier(&device(1));
    let ticket = old.issue_ticket(identifier.key.id(), Some(handle(7)), NOW, &POLICY);
    let name = old.issue_identifier(&identifier);
    assert_eq!((ticket.len(), name.len(), old.refresh_challenge(identifier.key.id(), NOW).len()), (80, 135, 38));
    assert!(both.read_ticket(ticket.as_bytes()).is_ok(), "an accepted key still checks");
    assert!(matches!(new.read_ticket(ticket.as_bytes()), Err(StampError::UnknownKey { .. })));
    assert!(matches!(new.read_identifier(name.as_bytes()), Err(StampError::UnknownKey { .. })));
    assert_eq!(both.read_identifier(name.as_bytes()), Ok(identifier));

    // The device's challenge at this session's handle, and the reverse.
    let challenge = old.refresh_challenge(identifier.key.id(), NOW);
    let as_handle: Handle = forge::base64url(identifier.key.id().as_bytes()).parse().expect("16 bytes");
    let crossed = old.is_registration_challenge(challenge.as_bytes(), as_handle, NOW, &POLICY);
    assert_eq!(crossed, Err(StampError::NotOurs));

    for text in [&ticket, &name] {
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(old.read_ticket(&changed).is_err() && old.read_identifier(&changed).is_err(), "{at}");
        }
        for other in [&text[1..], &format!("{text}A"), &format!("{text}="), &format!("\"{text}\""), ""] {
            assert_eq!(old.read_ticket(other.as_bytes()), Err(StampError::Malformed));
            assert_eq!(old.read_identifier(other.as_bytes()), Err(StampError::Malformed));
        }
    }
}

#[test]
fn what_a_leaked_key_has_stamped_binds_nothing_and_logs_no_device_out() {
    let leaked = FingerprintKey::from_bytes([1; 32]);
    let builder = Keyring::builder().seal_key(SealKey::from_bytes([99; 32]));
    let builder = builder.fingerprint_key(FingerprintKey::from_bytes([2; 32])).compromised_fingerprint_key(leaked);
    let sizes = Sizes::default_for(1).expect("the default");
    let sealer = Sealer::new(builder.build().expect("a ring").into(), "x", sizes).expect("a context");
    let (old, new) = (ring(&[1]), sealer.keyring());
    let (device, id) = (device(1), identifier(&device(1)).key.id());

    let ticket = old.issue_ticket(id, Some(handle(7)), NOW, &POLICY);
    assert!(matches!(new.read_ticket(ticket.as_bytes()), Err(StampError::Compromised { .. })));
    let registration = device.registration(&old.registration_challenge(handle(7), NOW), &handle(7).to_string());
    let refused = sealer.register_device(registration.as_bytes(), NOW, &POLICY);
    assert!(matches!(refused, Err(ProofError::Challenge(StampError::Compromised { .. }))));

    // The holder of the key proves it to a new challenge, and names no session.
    let read = new.read_identifier(old.issue_identifier(&identifier(&device)).as_bytes()).expect("an identifier");
    assert_eq!((read.key, read.handle), (identifier(&device).key, None));
    let refresh = |challenge: String| sealer.prove_device(device.refresh(&challenge).as_bytes(), &read, NOW, &POLICY);
    assert!(refresh(old.refresh_challenge(id, NOW)).is_err());
    assert_eq!(refresh(new.refresh_challenge(id, NOW)), Ok(()));
    let ticket = new.read_ticket(new.issue_ticket(id, read.handle, NOW, &POLICY).as_bytes()).expect("its own");
    assert_eq!((ticket.device, ticket.handle), (id, None));
}
