//! No secret in `Debug`, nor in the text of an error.

use std::fmt::Debug;

use secure_sessions_core::{
    Content, Entry, FingerprintKey, KeyParseError, Keyring, NewBucket, Retired, SealKey, Succession, Token, Tombstone,
    Verdict, decode,
};

use crate::support::fixtures::{CONTEXT, FINGERPRINT, POLICY, SEAL, START, Session, data, later, meta_of, sealer};
use crate::support::random::Stream;
use crate::support::{hex, raw};

const SUBJECT: &str = "CANARY-subject";
const DATA: &str = "CANARY-data";

/// Every spelling in which these bytes could slip into a text.
fn spellings(bytes: &[u8]) -> Vec<String> {
    // Eight bytes in a row are no coincidence.
    let bytes = &bytes[..8];
    let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let hex = hex::encode(bytes);
    let base64 = raw::base64url(bytes)[..10].to_owned();
    vec![decimal, hex.to_uppercase(), hex, base64]
}

fn hides(what: &str, shown: &impl Debug, secrets: &[(&str, Vec<u8>)]) {
    for text in [format!("{shown:?}"), format!("{shown:#?}")] {
        assert!(!text.contains("CANARY"), "{what} shows what the session holds: {text}");
        let compact = text.replace(char::is_whitespace, "").replace(',', ", ");
        for (name, bytes) in secrets {
            for spelling in spellings(bytes) {
                assert!(!text.contains(&spelling) && !compact.contains(&spelling), "{what} shows the {name}: {text}");
            }
        }
    }
}

#[test]
fn no_public_type_shows_a_secret() {
    let mut session = Session::new(sealer(), Some(SUBJECT), DATA);
    let id = session.bucket.id;
    let label = session.sealer.keyring().seal_label(&id, "CANARY-label", &mut session.random).expect("short");
    let old = session.rotate(DATA, later(10));
    session.bucket.label = Some(label.clone());
    let plaintext = raw::read(&SEAL, CONTEXT, session.token.as_bytes()).expect("opens");
    let tag = session.bucket.subject.expect("a subject");
    let secrets = [
        ("seal key", SEAL.to_vec()),
        ("fingerprint key", FINGERPRINT.to_vec()),
        ("seal subkey", raw::derive::<32>(&SEAL, "seal").to_vec()),
        ("handoff subkey", raw::derive::<32>(&SEAL, "handoff").to_vec()),
        ("fingerprint subkey", raw::derive::<32>(&FINGERPRINT, "fingerprint").to_vec()),
        ("csrf subkey", raw::derive::<32>(&FINGERPRINT, "csrf").to_vec()),
        ("session id", id.as_bytes().to_vec()),
        ("handoff key", plaintext.handoff_key.to_vec()),
        ("data", plaintext.data.clone()),
        ("token's start", session.token.as_bytes().to_vec()),
        ("token's ciphertext", session.token.as_bytes()[33..].to_vec()),
        ("issue mark", session.token.as_bytes()[session.token.as_bytes().len() - 16..].to_vec()),
        ("fingerprint", session.bucket.current.as_bytes().to_vec()),
        ("subject tag", tag.as_bytes().to_vec()),
        ("handoff", session.bucket.handoff.clone().expect("after a rotation")[28..].to_vec()),
        ("label", label[28..].to_vec()),
    ];
    let hides = |what: &str, shown: &dyn Debug| hides(what, &shown, &secrets);

    let (seal, fingerprint) = (SealKey::from_bytes(SEAL), FingerprintKey::from_bytes(FINGERPRINT));
    hides("SealKey", &seal);
    hides("FingerprintKey", &fingerprint);
    let builder = Keyring::builder().seal_key(seal).fingerprint_key(fingerprint);
    hides("KeyringBuilder", &builder);
    hides("Keyring", &builder.build().expect("a ring"));
    hides("Sealer", &session.sealer);
    hides("SessionId", &id);
    hides("SubjectTag", &tag);
    hides("HandoffKey", &session.handoff_key);
    hides("Fingerprint", &session.bucket.current);
    hides("Handle", &session.sealer.keyring().handle(&id));
    hides("Token", &session.token);
    hides("Bucket", &session.bucket);
    hides("Entry", &Entry::Bucket(session.bucket.clone()));
    hides("Tombstone", &Entry::Tombstone(Tombstone::new(id, START, &POLICY)));
    hides("Retired", &session.bucket.retired);
    let Retired { fingerprint, .. } = session.bucket.retired[0];
    hides("Fingerprint", &fingerprint);
    let handoff = session.bucket.handoff.clone().expect("after a rotation");
    hides(
        "Succession",
        &Succession {
            fingerprint,
            handoff,
            subject: Some(tag),
            group: None,
            label: Some(label.clone()),
            expires_at: START,
            idle_timeout: None,
        },
    );
    hides(
        "NewBucket",
        &NewBucket {
            id,
            subject: Some(tag),
            group: None,
            label: Some(label),
            expires_at: START,
            idle_timeout: None,
            first: fingerprint,
        },
    );

    let (meta, data) = (meta_of(Some(SUBJECT)), data(DATA));
    hides("Meta", &meta);
    hides("DataMap", &data);
    let content = Content {
        session_id: id,
        handoff_key: &session.handoff_key,
        generation: 1,
        issued_at: START,
        expires_at: later(1000),
        meta: &meta,
        data: &data,
    };
    hides("Content", &content);
    hides("Issued", &session.sealer.seal(&content, &mut Stream::new("issued")).expect("fits"));
    hides("Opened", &session.sealer.open(session.token.clone()).expect("ours"));
    let verdict = session.present(&session.token, later(11));
    hides("Verdict", &verdict);
    let Verdict::Current(admitted) = verdict else { panic!("the newest token") };
    hides("Admitted", &admitted);
    hides("Arrival", &admitted.arrival(START));
    let verdict = session.present(&old, later(11));
    hides("Verdict", &verdict);
    let Verdict::Superseded(superseded) = verdict else { panic!("a superseded token") };
    hides("Superseded", &superseded);
}

#[test]
fn no_error_repeats_what_it_refuses() {
    let texts = [
        decode::<u64>(&[0x66, b'C', b'A', b'N', b'A', b'R', b'Y']).expect_err("a text").to_string(),
        format!("{:?}", decode::<u64>(&[0x66, b'C', b'A', b'N', b'A', b'R', b'Y']).expect_err("a text")),
        Token::decode(&b"CANARY".repeat(100)).expect_err("no token").to_string(),
        "CANARY".parse::<SealKey>().expect_err("no key").to_string(),
        format!("{:?}", "sealk1_CANARY".parse::<SealKey>().expect_err("no key")),
        Keyring::builder().parse("CANARY", "", "").expect_err("no key").to_string(),
    ];
    for text in texts {
        assert!(!text.contains("CANARY"), "{text}");
    }
    assert!(matches!("CANARY".parse::<FingerprintKey>(), Err(KeyParseError::Prefix { .. })));
}
