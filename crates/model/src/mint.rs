//! Real tokens for the model: each is a function of what it says, so that equal histories are equal states.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::{TryCryptoRng, TryRng};
use secure_sessions_core::{
    Admitted, Content, DataMap, Fingerprint, FingerprintKey, GroupTag, HandoffKey, Keyring, Meta, ProviderSession,
    SealKey, Sealer, SessionId, Sizes, SubjectTag, Timestamp, Token, encode,
};

use crate::subject::Subject;
use crate::time::{EXPIRES, time};

const CONTEXT: &str = "s";

/// A token, as the model counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Coin {
    /// The session that it belongs to.
    pub(crate) session: u8,
    /// The subject that the session belongs to.
    pub(crate) subject: Subject,
    /// The number of the token within its session.
    pub(crate) generation: u32,
    /// The request that made it: two that race make different ones.
    pub(crate) maker: u8,
    /// The updates that it holds, as bits.
    pub(crate) data: u8,
    /// The time at which it was issued.
    pub(crate) at: u16,
}

/// A coin as it travels and is kept.
#[derive(Debug, Clone)]
pub(crate) struct Minted {
    pub(crate) token: Token,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) handoff: Vec<u8>,
}

/// Makes tokens, each once.
pub(crate) struct Mint {
    pub(crate) sealer: Sealer,
    /// The tags of the user, and of the other.
    tags: [SubjectTag; 2],
    /// The groups of nobody, of the user, and of the other.
    groups: [Option<GroupTag>; 3],
    made: Mutex<HashMap<Coin, Arc<Minted>>>,
    by_fingerprint: Mutex<HashMap<[u8; 16], Coin>>,
}

impl Mint {
    pub(crate) fn new() -> Self {
        let keyring = Keyring::builder()
            .seal_key(SealKey::from_bytes([1; 32]))
            .fingerprint_key(FingerprintKey::from_bytes([2; 32]))
            .build()
            .expect("two keys");
        let sizes = Sizes::default_for(CONTEXT.len()).expect("a short name");
        let sealer = Sealer::new(Arc::new(keyring), CONTEXT, sizes).expect("a short name");
        let tags = [Subject::User, Subject::Other].map(|subject| sealer.subject_tag(subject.name().expect("a name")));
        let group = |subject| provider_session(subject).map(|session| sealer.group_tag(&session));
        let groups = [Subject::Nobody, Subject::User, Subject::Other].map(group);
        Self { sealer, tags, groups, made: Mutex::default(), by_fingerprint: Mutex::default() }
    }

    pub(crate) fn make(&self, coin: Coin) -> Arc<Minted> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(minted) = made.get(&coin) {
            return Arc::clone(minted);
        }
        let mut random = Stream::of(coin);
        let key = handoff_key(coin.session);
        let mut data = DataMap::new();
        let said = (coin.session, coin.generation, coin.maker, coin.data, coin.at);
        data.insert_encoded("coin", &encode(&said).expect("numbers")).expect("short");
        let mut meta = Meta::default();
        meta.subject = coin.subject.name().map(str::to_owned);
        meta.provider_session = provider_session(coin.subject);
        let content = Content {
            session_id: id(coin.session),
            handoff_key: &key,
            generation: coin.generation,
            issued_at: time(coin.at),
            expires_at: EXPIRES,
            meta: &meta,
            data: &data,
        };
        let issued = self.sealer.seal(&content, &mut random).expect("little data");
        let handoff =
            self.sealer.seal_handoff(&id(coin.session), &key, &issued.token, &mut random).expect("randomness");
        let minted = Arc::new(Minted { token: issued.token, fingerprint: issued.fingerprint, handoff });
        let mut by_fingerprint = self.by_fingerprint.lock().unwrap_or_else(PoisonError::into_inner);
        let other = by_fingerprint.insert(*minted.fingerprint.as_bytes(), coin);
        assert_eq!(other, None, "two coins of one fingerprint");
        made.insert(coin, Arc::clone(&minted));
        minted
    }

    /// The tag of a subject in a bucket.
    pub(crate) fn tag(&self, subject: Subject) -> Option<SubjectTag> {
        match subject {
            Subject::Nobody => None,
            Subject::User => Some(self.tags[0]),
            Subject::Other => Some(self.tags[1]),
        }
    }

    /// The tag of a subject's session at the identity provider, from which every login of it comes.
    pub(crate) fn group(&self, subject: Subject) -> Option<GroupTag> {
        self.groups[subject as usize]
    }

    /// Returns the token that was issued under this fingerprint.
    pub(crate) fn find(&self, fingerprint: &Fingerprint) -> Coin {
        let by_fingerprint = self.by_fingerprint.lock().unwrap_or_else(PoisonError::into_inner);
        *by_fingerprint.get(fingerprint.as_bytes()).expect("the bucket vouches only for what was made")
    }
}

fn provider_session(subject: Subject) -> Option<ProviderSession> {
    subject.name().map(|name| ProviderSession::new("https://login.example", name).expect("a session"))
}

/// Returns the token that a handler reads in its session.
pub(crate) fn read(admitted: &Admitted) -> Coin {
    let (session, generation, maker, data, at) = admitted.data.get("coin").expect("numbers").expect("there");
    let subject = match admitted.meta.subject.as_deref() {
        None => Subject::Nobody,
        name if name == Subject::User.name() => Subject::User,
        _ => Subject::Other,
    };
    Coin { session, subject, generation, maker, data, at }
}

pub(crate) fn id(session: u8) -> SessionId {
    SessionId::from_bytes([session; 16])
}

pub(crate) fn handoff_key(session: u8) -> HandoffKey {
    HandoffKey::random(&mut Stream(u64::from(session))).expect("a stream never fails")
}

/// Bytes that depend on the seed alone: SplitMix64. What the model needs of them is that they differ.
struct Stream(u64);

impl Stream {
    fn of(coin: Coin) -> Self {
        let parts = [
            u64::from(coin.session),
            coin.subject as u64,
            coin.generation.into(),
            coin.maker.into(),
            coin.data.into(),
            coin.at.into(),
        ];
        Self(parts.iter().fold(1, |seed, part| Self(seed ^ part).step().wrapping_add(*part)))
    }

    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.step())
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Infallible> {
        for chunk in output.chunks_mut(8) {
            chunk.copy_from_slice(&self.step().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

impl Coin {
    /// Returns the arrival that a bucket records when this token arrives.
    pub(crate) fn arrived(self, mint: &Mint, at: Timestamp) -> secure_sessions_core::Arrival {
        let fingerprint = mint.make(self).fingerprint;
        secure_sessions_core::Arrival { generation: self.generation, fingerprint, at }
    }
}
