//! Keys, sealers, and a session that goes through its life with real tokens.

use std::sync::Arc;

use secure_sessions_core::{
    Admitted, Arrival, Bucket, BucketPolicy, Content, DataMap, FIRST_GENERATION, FingerprintKey, HandoffKey, Issued,
    Keyring, Meta, Millis, NewBucket, SealKey, Sealer, SessionId, Sizes, Succession, Timestamp, Token, Verdict, encode,
};

use super::random::Stream;

pub(crate) const CONTEXT: &str = "__Host-session";
pub(crate) const SEAL: [u8; 32] = [0x51; 32];
pub(crate) const FINGERPRINT: [u8; 32] = [0xf1; 32];
pub(crate) const POLICY: BucketPolicy = BucketPolicy { grace: Millis::from_secs(60), touch_step: None };
/// When the sessions of these tests begin.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_750_000_000_000);
pub(crate) const LIFETIME: Millis = Millis::from_secs(8 * 60 * 60);

pub(crate) fn later(seconds: u64) -> Timestamp {
    START.after(Millis::from_secs(seconds))
}

/// A ring of these keys; the first of each kind is active.
pub(crate) fn ring(seal: &[[u8; 32]], fingerprint: &[[u8; 32]]) -> Arc<Keyring> {
    let mut builder = Keyring::builder();
    for key in seal {
        builder = builder.seal_key(SealKey::from_bytes(*key));
    }
    for key in fingerprint {
        builder = builder.fingerprint_key(FingerprintKey::from_bytes(*key));
    }
    Arc::new(builder.build().expect("a ring"))
}

pub(crate) fn sealer_of(ring: Arc<Keyring>, context: &str) -> Sealer {
    Sealer::new(ring, context, Sizes::default_for(context.len()).expect("a short name")).expect("a context")
}

pub(crate) fn sealer() -> Sealer {
    sealer_of(ring(&[SEAL], &[FINGERPRINT]), CONTEXT)
}

pub(crate) fn data(text: &str) -> DataMap {
    let mut map = DataMap::new();
    map.insert_encoded("text", &encode(text).expect("a text")).expect("fits");
    map
}

pub(crate) fn text(admitted: &Admitted) -> String {
    admitted.data.get("text").expect("a text").expect("there")
}

pub(crate) fn meta_of(subject: Option<&str>) -> Meta {
    let mut meta = Meta::default();
    meta.subject = subject.map(str::to_owned);
    meta
}

/// A session: its bucket as a store keeps it, and its newest token as a client does.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) sealer: Sealer,
    pub(crate) bucket: Bucket,
    pub(crate) token: Token,
    pub(crate) handoff_key: HandoffKey,
    pub(crate) subject: Option<String>,
    pub(crate) random: Stream,
}

impl Session {
    pub(crate) fn new(sealer: Sealer, subject: Option<&str>, text: &str) -> Self {
        let mut random = Stream::new(&format!("a session that starts with {text}"));
        let id = SessionId::random(&mut random).expect("random");
        let handoff_key = HandoffKey::random(&mut random).expect("random");
        let issued =
            issue(&sealer, id, &handoff_key, FIRST_GENERATION, START, subject, text, &mut random).expect("fits");
        let new = NewBucket {
            id,
            subject: issued.subject,
            group: None,
            label: None,
            expires_at: START.after(LIFETIME),
            idle_timeout: Some(Millis::from_secs(30 * 60)),
            first: issued.fingerprint,
        };
        let bucket = Bucket::create(new, START);
        let subject = subject.map(str::to_owned);
        Self { sealer, bucket, token: issued.token, handoff_key, subject, random }
    }

    pub(crate) fn anonymous(text: &str) -> Self {
        Self::new(sealer(), None, text)
    }

    /// The newest token rotates at the request of its own holder; gives the superseded one.
    pub(crate) fn rotate(&mut self, text: &str, now: Timestamp) -> Token {
        let arrival = Arrival { generation: self.bucket.generation, fingerprint: self.bucket.current, at: now };
        self.rotate_for(&arrival, text, now)
    }

    pub(crate) fn rotate_for(&mut self, arrival: &Arrival, text: &str, now: Timestamp) -> Token {
        let generation = self.bucket.next_generation().expect("few generations");
        let subject = self.subject.as_deref();
        let (id, handoff_key) = (self.bucket.id, &self.handoff_key);
        let issued = issue(&self.sealer, id, handoff_key, generation, now, subject, text, &mut self.random);
        let issued = issued.expect("fits");
        let handoff = self.sealer.seal_handoff(&id, handoff_key, &issued.token, &mut self.random).expect("random");
        let succession = Succession {
            fingerprint: issued.fingerprint,
            handoff,
            subject: issued.subject,
            group: None,
            label: None,
            expires_at: self.bucket.expires_at,
            idle_timeout: self.bucket.idle_timeout,
        };
        self.bucket = self.bucket.rotated(arrival, succession, now, &POLICY).expect("few generations");
        std::mem::replace(&mut self.token, issued.token)
    }

    pub(crate) fn present(&self, token: &Token, now: Timestamp) -> Verdict {
        let opened = self.sealer.open(token.clone()).expect("a token of ours");
        self.sealer.admit(&self.bucket, opened, now, None, &POLICY)
    }
}

#[expect(clippy::too_many_arguments, reason = "what a token holds")]
pub(crate) fn issue(
    sealer: &Sealer,
    session_id: SessionId,
    handoff_key: &HandoffKey,
    generation: u32,
    now: Timestamp,
    subject: Option<&str>,
    text: &str,
    random: &mut Stream,
) -> Result<Issued, secure_sessions_core::SealError> {
    let content = Content {
        session_id,
        handoff_key,
        generation,
        issued_at: now,
        expires_at: START.after(LIFETIME),
        meta: &meta_of(subject),
        data: &data(text),
    };
    sealer.seal(&content, random)
}
