//! The cases of `handoff.json`.

use secure_sessions_core::{Content, DataMap, HandoffKey, Meta, Sealer, SessionId, Sizes, Timestamp};

use super::{COOKIE, EXPIRES_AT, ISSUED_AT, key, keys, seal_text};
use crate::support::random::{Replay, Stream};
use crate::support::vectors::{HandoffCase, Keys};
use crate::support::{hex, raw};

pub(super) fn cases() -> Vec<HandoffCase> {
    struct Parts {
        session_id: [u8; 16],
        handoff_key: [u8; 32],
        token: Vec<u8>,
        fingerprint: [u8; 16],
    }

    let sealed = |name: &str, ring: &Keys, sealed_by: &str, context: &str, generation: u32| -> (HandoffCase, Parts) {
        let mut random = Stream::new(&format!("secure-sessions test vectors, handoff {name}"));
        let session_id = SessionId::random(&mut random).expect("random");
        let handoff_key_bytes: [u8; 32] = random.bytes();
        let handoff_key = HandoffKey::random(&mut Replay(&handoff_key_bytes)).expect("32 bytes");
        let sealer = |ring: &Keys| -> Sealer {
            let sizes = Sizes::default_for(context.len()).expect("the default");
            Sealer::new(ring.ring(), context, sizes).expect("a context")
        };
        let content = Content {
            session_id,
            handoff_key: &handoff_key,
            generation,
            issued_at: Timestamp::from_millis(ISSUED_AT),
            expires_at: Timestamp::from_millis(EXPIRES_AT),
            meta: &Meta::default(),
            data: &DataMap::new(),
        };
        let issued = sealer(ring).seal(&content, &mut random).expect("fits");
        random.given.clear();
        let handoff = sealer(&keys(&[sealed_by], &["fingerprint 1"]))
            .seal_handoff(&session_id, &handoff_key, &issued.token, &mut random)
            .expect("random");
        let case = HandoffCase {
            name: name.to_owned(),
            keyring: ring.clone(),
            sealed_by: seal_text(sealed_by),
            context: context.to_owned(),
            session_id: hex::encode(session_id.as_bytes()),
            handoff_key: hex::encode(&handoff_key_bytes),
            generation,
            random: hex::encode(&random.given),
            token: hex::encode(issued.token.as_bytes()),
            fingerprint: hex::encode(issued.fingerprint.as_bytes()),
            handoff: hex::encode(&handoff),
            refused: None,
        };
        let parts = Parts {
            session_id: *session_id.as_bytes(),
            handoff_key: handoff_key_bytes,
            token: issued.token.as_bytes().to_vec(),
            fingerprint: *issued.fingerprint.as_bytes(),
        };
        (case, parts)
    };

    let one = keys(&["seal 1"], &["fingerprint 1"]);
    let accepting = keys(&["seal 1", "seal 2"], &["fingerprint 1"]);
    let both = keys(&["seal 2", "seal 1"], &["fingerprint 2", "fingerprint 1"]);
    let mut cases = vec![
        sealed("the second token", &one, "seal 1", COOKIE, 2).0,
        sealed("under the active keys of a ring of four", &both, "seal 2", COOKIE, 3).0,
        sealed("the context of a header", &one, "seal 1", "bearer:authorization", 70_000).0,
    ];

    // Each of these is sealed with the right seal key and handoff key, and wrong in one thing.
    let nonce: [u8; 24] = Stream::new("secure-sessions test vectors, refused handoffs").bytes();
    let mut refuse = |name: &str, made: &dyn Fn(&Parts) -> Vec<u8>| {
        let ring = if name.contains("another seal key") { &accepting } else { &one };
        let (mut case, parts) = sealed(name, ring, "seal 1", COOKIE, 2);
        case.random = hex::encode(&nonce);
        case.handoff = hex::encode(&made(&parts));
        case.refused = Some("tampered".to_owned());
        cases.push(case);
    };
    let seal = key("seal 1");
    refuse("holds an issued token of another generation", &|p| {
        let mut opened = raw::read(&seal, COOKIE, &p.token).expect("opens");
        opened.generation -= 1;
        let (token, _) = raw::token(&seal, &key("fingerprint 1"), COOKIE, &nonce, &opened.to_bytes());
        raw::handoff(&seal, COOKIE, &p.session_id, &p.handoff_key, &nonce, &token)
    });
    refuse("holds an issued token of another session", &|p| {
        let mut opened = raw::read(&seal, COOKIE, &p.token).expect("opens");
        opened.session_id = [9; 16];
        let (token, _) = raw::token(&seal, &key("fingerprint 1"), COOKIE, &nonce, &opened.to_bytes());
        raw::handoff(&seal, COOKIE, &p.session_id, &p.handoff_key, &nonce, &token)
    });
    refuse("holds a token under another seal key than its envelope", &|p| {
        let opened = raw::read(&seal, COOKIE, &p.token).expect("opens");
        let (token, _) = raw::token(&key("seal 2"), &key("fingerprint 1"), COOKIE, &nonce, &opened.to_bytes());
        raw::handoff(&seal, COOKIE, &p.session_id, &p.handoff_key, &nonce, &token)
    });
    refuse("one bit of the ciphertext flipped", &|p| {
        let mut whole = raw::handoff(&seal, COOKIE, &p.session_id, &p.handoff_key, &nonce, &p.token);
        whole[100] ^= 1;
        whole
    });
    refuse("sealed for another session", &|p| raw::handoff(&seal, COOKIE, &[9; 16], &p.handoff_key, &nonce, &p.token));
    refuse("sealed in another context", &|p| {
        raw::handoff(&seal, "session", &p.session_id, &p.handoff_key, &nonce, &p.token)
    });
    refuse("sealed under another handoff key", &|p| {
        raw::handoff(&seal, COOKIE, &p.session_id, &[9; 32], &nonce, &p.token)
    });
    refuse("holds a token that we did not issue", &|p| {
        let mut token = p.token.clone();
        token.last_mut().map(|last| *last ^= 1).expect("not empty");
        raw::handoff(&seal, COOKIE, &p.session_id, &p.handoff_key, &nonce, &token)
    });
    refuse("holds an issued token whose fingerprint is not the bucket's", &|p| {
        let opened = raw::read(&seal, COOKIE, &p.token).expect("opens");
        let (token, fingerprint) = raw::token(&seal, &key("fingerprint 1"), COOKIE, &nonce, &opened.to_bytes());
        assert_ne!(fingerprint, p.fingerprint);
        raw::handoff(&seal, COOKIE, &p.session_id, &p.handoff_key, &nonce, &token)
    });
    refuse("is cut off", &|p| {
        let whole = raw::handoff(&seal, COOKIE, &p.session_id, &p.handoff_key, &nonce, &p.token);
        whole[..whole.len() - 1].to_vec()
    });
    cases
}
