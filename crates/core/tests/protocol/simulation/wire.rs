//! The cookies of the simulation: bare numbers, which are fast, or real sealed tokens.

use secure_sessions_core::{
    Admitted, Arrival, Bucket, BucketPolicy, Content, DataMap, FIRST_GENERATION, Fingerprint, HandoffKey, Meta,
    NewBucket, Sealer, SessionId, Standing, Succession, Timestamp, Token, Verdict, encode,
};

use crate::support::fixtures;
use crate::support::random::Stream;

/// The judgement of a host on a presented cookie.
pub(crate) enum Seen {
    /// With the data that the cookie itself holds.
    Current(Arrival, u64),
    Superseded(Arrival),
    Replayed,
    /// One of too many at once.
    Evicted,
    Unremembered,
}

pub(crate) trait Wire {
    type Cookie: Clone;

    fn create(&mut self, state: u64, now: Timestamp) -> (Bucket, Self::Cookie);

    fn succeed(&mut self, bucket: &Bucket, state: u64, now: Timestamp) -> (Succession, Self::Cookie);

    fn present(&self, bucket: &Bucket, cookie: &Self::Cookie, now: Timestamp, policy: &BucketPolicy) -> Seen;

    /// The newest cookie and its data, as the holder of this one gets them.
    fn newest(&self, bucket: &Bucket, held: &Self::Cookie, now: Timestamp) -> Option<(u64, Self::Cookie)>;
}

const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);

fn new_bucket(id: SessionId, first: Fingerprint, now: Timestamp) -> Bucket {
    let new = NewBucket { id, subject: None, group: None, label: None, expires_at: NEVER, idle_timeout: None, first };
    Bucket::create(new, now)
}

fn succession(bucket: &Bucket, fingerprint: Fingerprint, handoff: Vec<u8>) -> Succession {
    Succession {
        fingerprint,
        handoff,
        subject: bucket.subject,
        group: None,
        label: None,
        expires_at: bucket.expires_at,
        idle_timeout: bucket.idle_timeout,
    }
}

/// A cookie is its generation and its data, a fingerprint the generation, a handoff the data.
pub(crate) struct Numbers;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered {
    generation: u32,
    state: u64,
}

impl Numbered {
    fn fingerprint(self) -> Fingerprint {
        let mut bytes = [0x55; 16];
        bytes[..4].copy_from_slice(&self.generation.to_be_bytes());
        Fingerprint::from_bytes(bytes)
    }
}

impl Wire for Numbers {
    type Cookie = Numbered;

    fn create(&mut self, state: u64, now: Timestamp) -> (Bucket, Numbered) {
        let cookie = Numbered { generation: FIRST_GENERATION, state };
        (new_bucket(SessionId::from_bytes([1; 16]), cookie.fingerprint(), now), cookie)
    }

    fn succeed(&mut self, bucket: &Bucket, state: u64, _: Timestamp) -> (Succession, Numbered) {
        let cookie = Numbered { generation: bucket.next_generation().expect("few generations"), state };
        (succession(bucket, cookie.fingerprint(), state.to_be_bytes().to_vec()), cookie)
    }

    fn present(&self, bucket: &Bucket, cookie: &Numbered, now: Timestamp, _: &BucketPolicy) -> Seen {
        let arrival = Arrival { generation: cookie.generation, fingerprint: cookie.fingerprint(), at: now };
        match bucket.standing(cookie.generation, &arrival.fingerprint, now) {
            Standing::Current => Seen::Current(arrival, cookie.state),
            Standing::Superseded => Seen::Superseded(arrival),
            Standing::Replayed => Seen::Replayed,
            Standing::Evicted => Seen::Evicted,
            Standing::Unremembered => Seen::Unremembered,
        }
    }

    fn newest(&self, bucket: &Bucket, held: &Numbered, _: Timestamp) -> Option<(u64, Numbered)> {
        if held.generation == bucket.generation {
            return Some((held.state, *held));
        }
        let state = u64::from_be_bytes(bucket.handoff.as_deref()?.try_into().ok()?);
        Some((state, Numbered { generation: bucket.generation, state }))
    }
}

/// Sealed tokens and handoffs.
pub(crate) struct Sealed {
    sealer: Sealer,
    handoff_key: HandoffKey,
    random: Stream,
}

impl Sealed {
    pub(crate) fn new() -> Self {
        let mut random = Stream::new("sealed histories");
        let handoff_key = HandoffKey::random(&mut random).expect("random");
        Self { sealer: fixtures::sealer(), handoff_key, random }
    }

    fn issue(&mut self, id: SessionId, generation: u32, state: u64, now: Timestamp) -> (Token, Fingerprint) {
        let mut data = DataMap::new();
        data.insert_encoded("n", &encode(&state).expect("a number")).expect("fits");
        let content = Content {
            session_id: id,
            handoff_key: &self.handoff_key,
            generation,
            issued_at: now,
            expires_at: NEVER,
            meta: &Meta::default(),
            data: &data,
        };
        let issued = self.sealer.seal(&content, &mut self.random).expect("fits");
        (issued.token, issued.fingerprint)
    }
}

fn state_of(admitted: &Admitted) -> u64 {
    admitted.data.get("n").expect("a number").expect("there")
}

impl Wire for Sealed {
    type Cookie = Token;

    fn create(&mut self, state: u64, now: Timestamp) -> (Bucket, Token) {
        let id = SessionId::random(&mut self.random).expect("random");
        let (token, fingerprint) = self.issue(id, FIRST_GENERATION, state, now);
        (new_bucket(id, fingerprint, now), token)
    }

    fn succeed(&mut self, bucket: &Bucket, state: u64, now: Timestamp) -> (Succession, Token) {
        let generation = bucket.next_generation().expect("few generations");
        let (token, fingerprint) = self.issue(bucket.id, generation, state, now);
        let handoff = self.sealer.seal_handoff(&bucket.id, &self.handoff_key, &token, &mut self.random);
        (succession(bucket, fingerprint, handoff.expect("random")), token)
    }

    fn present(&self, bucket: &Bucket, cookie: &Token, now: Timestamp, policy: &BucketPolicy) -> Seen {
        let opened = self.sealer.open(cookie.clone()).expect("ours");
        match self.sealer.admit(bucket, opened, now, None, policy) {
            Verdict::Current(admitted) => Seen::Current(admitted.arrival(now), state_of(&admitted)),
            Verdict::Superseded(superseded) => Seen::Superseded(superseded.arrival(now)),
            Verdict::Replayed => Seen::Replayed,
            Verdict::Evicted => Seen::Evicted,
            Verdict::Unremembered => Seen::Unremembered,
            other => panic!("{other:?}"),
        }
    }

    fn newest(&self, bucket: &Bucket, held: &Token, now: Timestamp) -> Option<(u64, Token)> {
        let opened = self.sealer.open(held.clone()).expect("ours");
        let policy = BucketPolicy { grace: secure_sessions_core::Millis::ZERO, touch_step: None };
        if let Verdict::Current(admitted) = self.sealer.admit(bucket, opened, now, None, &policy) {
            return Some((state_of(&admitted), held.clone()));
        }
        let (admitted, token) = self.sealer.follow(bucket, &self.handoff_key, now, None).ok()?;
        Some((state_of(&admitted), token))
    }
}
