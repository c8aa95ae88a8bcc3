//! The cases of `token.json`.

use std::collections::BTreeMap;

use secure_sessions_core::{
    Content, DataMap, DeviceId, HandoffKey, KeyState, Meta, Millis, ProviderSession, SealKey, SessionId, SizeClasses,
    Sizes, Timestamp, encode, format,
};
use serde::Serialize;

use super::{COOKIE, EXPIRES_AT, ISSUED_AT, fingerprint_text, key, keys, seal_text};
use crate::support::random::{Replay, Stream};
use crate::support::vectors::{Classes, Keys, MetaEntries, TokenCase};
use crate::support::{hex, raw};

const DEFAULT: Classes = Classes::Step(format::DEFAULT_SIZE_STEP);

/// The input of a case of `token.json`.
struct Input {
    name: &'static str,
    keyring: Keys,
    sealed_by: Keys,
    context: &'static str,
    limit: usize,
    size_classes: Classes,
    generation: u32,
    times: (u64, u64),
    meta: Meta,
    vault: BTreeMap<String, String>,
    data: DataMap,
}

impl Input {
    fn named(name: &'static str) -> Self {
        let ring = keys(&["seal 1"], &["fingerprint 1"]);
        Self {
            name,
            keyring: ring.clone(),
            sealed_by: ring,
            context: COOKIE,
            limit: 4000,
            size_classes: DEFAULT,
            generation: 1,
            times: (ISSUED_AT, EXPIRES_AT),
            meta: Meta::default(),
            vault: BTreeMap::new(),
            data: DataMap::new(),
        }
    }

    fn with(mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.data.insert_encoded(key, &encode(value).expect("encodes")).expect("fits");
        self
    }

    fn sealed_by(mut self, sealed_by: Keys) -> Self {
        self.sealed_by = sealed_by;
        self
    }

    fn opened_by(mut self, keyring: Keys) -> Self {
        self.keyring = keyring;
        self
    }

    fn case(self) -> TokenCase {
        let mut random = Stream::new(&format!("secure-sessions test vectors, token {}", self.name));
        let session_id = SessionId::random(&mut random).expect("random");
        let handoff_key_bytes: [u8; 32] = random.bytes();
        let handoff_key = HandoffKey::random(&mut Replay(&handoff_key_bytes)).expect("32 bytes");
        random.given.clear();

        let mut case = TokenCase {
            name: self.name.to_owned(),
            keyring: self.keyring,
            sealed_by: self.sealed_by,
            context: self.context.to_owned(),
            limit: self.limit,
            size_classes: self.size_classes,
            session_id: hex::encode(session_id.as_bytes()),
            handoff_key: hex::encode(&handoff_key_bytes),
            generation: self.generation,
            issued_at: self.times.0,
            expires_at: self.times.1,
            meta: MetaEntries {
                vault: Some(self.vault).filter(|vault| !vault.is_empty()),
                ..MetaEntries::of(&self.meta)
            },
            meta_cbor: String::new(),
            data_cbor: hex::encode(&self.data.to_cbor()),
            random: String::new(),
            token: String::new(),
            cookie: String::new(),
            issue_mark: String::new(),
            fingerprint: String::new(),
            subject_tag: None,
            group_tag: None,
            seal_key_state: String::new(),
            fingerprint_key_state: String::new(),
        };
        let sealer = case.sealer(&case.sealed_by);
        let content = Content {
            session_id,
            handoff_key: &handoff_key,
            generation: self.generation,
            issued_at: Timestamp::from_millis(self.times.0),
            expires_at: Timestamp::from_millis(self.times.1),
            meta: &case.meta.to_meta(),
            data: &self.data,
        };
        let issued = sealer.seal(&content, &mut random).expect("fits");
        let bytes = issued.token.as_bytes();
        let opened = case.sealer(&case.keyring).open(issued.token.clone()).expect("its own token");
        let state = |state: KeyState| format!("{state:?}").to_lowercase();

        let seal_key: SealKey = case.sealed_by.seal[0].parse().expect("a key");
        let seal_key = [key("seal 1"), key("seal 2")]
            .into_iter()
            .find(|bytes| SealKey::from_bytes(*bytes).id() == seal_key.id())
            .expect("one of the two");
        case.meta_cbor = hex::encode(&raw::read(&seal_key, self.context, bytes).expect("opens").meta);
        case.random = hex::encode(&random.given);
        case.token = hex::encode(bytes);
        case.cookie = issued.token.encode();
        case.issue_mark = hex::encode(&bytes[bytes.len() - format::ISSUE_LEN..]);
        case.fingerprint = hex::encode(issued.fingerprint.as_bytes());
        case.subject_tag = issued.subject.map(|tag| hex::encode(tag.as_bytes()));
        case.group_tag = issued.group.map(|tag| hex::encode(tag.as_bytes()));
        case.seal_key_state = state(opened.sealed_under().seal.1);
        case.fingerprint_key_state = state(opened.sealed_under().fingerprint.1);
        case
    }
}

#[derive(Serialize)]
struct Item<'a> {
    name: &'a str,
    price: f64,
    tags: Vec<Option<&'a str>>,
    nested: BTreeMap<i64, (bool, u64)>,
}

pub(super) fn cases() -> Vec<TokenCase> {
    let mut cases = vec![
        Input::named("an empty session"),
        Input::named("one number").with("n", &7_u8),
        Input::named("texts of every width, nested values, extreme numbers")
            .with("greeting", "Grüße, \u{4f60}\u{597d} \u{1f512} \u{0}")
            .with("Ключ", &"\u{10ffff}")
            .with("", &())
            .with("numbers", &(u64::MAX, i64::MIN, -1, 0, f64::INFINITY, 0.1_f32, u128::MAX))
            .with(
                "cart",
                &[Item {
                    name: "Buch",
                    price: 12.5,
                    tags: vec![None, Some("neu")],
                    nested: [(-1, (true, 1 << 40)), (24, (false, 255))].into(),
                }],
            ),
    ];

    let mut unordered = Input::named("keys in the order of another implementation");
    unordered.data = DataMap::from_cbor(&hex::decode("a3617a01616102616d9f01ff")).expect("a map");
    cases.push(unordered);

    let mut full = Input::named("every meta entry").with("theme", "dark");
    full.meta.subject = Some("user-4711".to_owned());
    full.meta.authenticated_at = Some(Timestamp::from_millis(ISSUED_AT - 1));
    full.meta.assurance_level = Some(2);
    full.meta.persistent = Some(true);
    full.meta.idle_timeout = Some(Millis::from_secs(1800));
    full.meta.lifetime = Some(Millis::from_secs(28_800));
    full.meta.binding = Some((0..32).collect());
    full.meta.flash = Some(hex::decode("81657361766564"));
    full.meta.device = Some(DeviceId::from_bytes([9; 16]));
    cases.push(full);

    let mut private = Input::named("references to two private values").with("theme", "dark");
    for (key, length) in [("tokens", 9000_u16), ("address", 1)] {
        let secret: [u8; 32] = Stream::new(&format!("secure-sessions test vectors, secret of {key}")).bytes();
        private.vault.insert(key.to_owned(), hex::encode(&[&secret[..], &length.to_be_bytes()].concat()));
    }
    cases.push(private);

    let mut subject = Input::named("a subject of 512 bytes, a session that is not persistent");
    subject.meta.subject = Some("ü".repeat(256));
    subject.meta.persistent = Some(false);
    cases.push(subject);

    let both = keys(&["seal 2", "seal 1"], &["fingerprint 2", "fingerprint 1"]);
    let old = keys(&["seal 1"], &["fingerprint 1"]);
    cases.push(
        Input::named("two keys of each kind, sealed under the active ones").with("n", &1).sealed_by(both.clone()),
    );
    cases.push(Input::named("sealed under the accepted keys").with("n", &1).sealed_by(old.clone()));
    cases.push(
        Input::named("sealed under a new seal key and the old fingerprint key")
            .with("n", &1)
            .sealed_by(keys(&["seal 2"], &["fingerprint 1"])),
    );
    for case in cases.iter_mut().rev().take(3) {
        case.keyring = both.clone();
        case.meta.subject = Some("alice".to_owned());
    }
    let mut leaked = keys(&["seal 2"], &["fingerprint 1"]);
    leaked.compromised.push(seal_text("seal 1"));
    cases.push(Input::named("sealed under a seal key that has leaked since").with("n", &1).opened_by(leaked));
    let mut leaked = keys(&["seal 1"], &["fingerprint 2"]);
    leaked.compromised.push(fingerprint_text("fingerprint 1"));
    cases.push(Input::named("marked under a fingerprint key that has leaked since").with("n", &1).opened_by(leaked));

    let classes = |name, classes| Input { size_classes: classes, ..Input::named(name).with("n", &1) };
    cases.push(classes("size classes in steps of 100 bytes", Classes::Step(100)));
    cases.push(classes("a step of one byte: no more than the least bloat", Classes::Step(1)));
    cases.push(classes("a list of size classes", Classes::List(vec![80, 200, 1000])));
    cases.push(
        classes("a list of size classes that is too short: what just fits the limit", Classes::List(vec![64]))
            .with("text", &"x".repeat(100)),
    );
    cases.push(Input { limit: 1000, ..classes("one fixed size", Classes::Fixed) });

    let sizes = Sizes::new(COOKIE.len(), 4000, SizeClasses::default()).expect("sizes");
    // A map of one entry: its head, the key, the head of a text of more than 255 bytes.
    let rest = format::PLAINTEXT_FIXED + 1 + (1 + 2 + 3) + format::MIN_BLOAT;
    cases.push(Input::named("the largest payload that fits").with("k", &"x".repeat(sizes.max_plaintext() - rest)));
    cases.push(Input {
        context: "s",
        limit: format::BROWSER_LIMIT,
        size_classes: Classes::Fixed,
        ..Input::named("the longest token")
    });
    cases.push(Input { context: "bearer:authorization", ..Input::named("the context of a header").with("n", &1) });
    cases.push(Input { context: "session", ..Input::named("another cookie name").with("n", &1) });
    cases.push(Input {
        generation: u32::MAX,
        times: (0, (1 << 53) - 1),
        ..Input::named("the last generation, the longest life")
    });
    let mut provided = Input::named("a login from a session at an identity provider");
    provided.meta.subject = Some("https://login.example 24400320".to_owned());
    provided.meta.provider_session =
        Some(ProviderSession::new("https://login.example", "08a5019c-17e1-4977").expect("a session"));
    cases.push(provided);
    cases.into_iter().map(Input::case).collect()
}
