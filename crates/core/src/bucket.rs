//! The bucket: all that the server remembers of a session. Every change is a pure function of bucket, event and time.

use core::fmt;

use crate::format::MAX_RETIRED;
use crate::ids::{Fingerprint, Revision, SessionId, SubjectTag};
use crate::time::{Millis, Timestamp};

/// The generation of a bucket's first token.
pub const FIRST_GENERATION: u32 = 1;
/// How long the purge waits after a bucket's deadline, so that late requests still learn that it expired.
pub const PURGE_DELAY: Millis = Millis::from_secs(60 * 60);
/// The most that `last_seen_at` may lag behind, and so an idle timeout may be late.
pub const MAX_TOUCH_STEP: Millis = Millis::from_secs(60);
/// How far a time in a bucket may be ahead of a host's own clock before it counts as an excursion of another's.
pub const CLOCK_TOLERANCE: Millis = Millis::from_secs(60);

/// The server's whole memory of one session: ids, fingerprints and times. Never its data.
#[derive(Clone)]
pub struct Bucket {
    /// Names the bucket.
    pub id: SessionId,
    /// Grows with every write.
    pub revision: Revision,
    /// Whom the session belongs to, as a keyed tag.
    pub subject: Option<SubjectTag>,
    /// What the application wrote on it, sealed.
    pub label: Option<Vec<u8>>,
    /// When the bucket was made.
    pub created_at: Timestamp,
    /// When the session was last seen, at most a touch step ago.
    pub last_seen_at: Timestamp,
    /// The absolute deadline.
    pub expires_at: Timestamp,
    /// How long the session may stay unseen.
    pub idle_timeout: Option<Millis>,
    /// When the current token was issued.
    pub rotated_at: Timestamp,
    /// Counts the tokens that were issued.
    pub generation: u32,
    /// Of the current token.
    pub current: Fingerprint,
    /// Superseded tokens that are not yet dead, the least recently presented first.
    pub retired: Vec<Retired>,
    /// The superseded tokens that `retired` had no room for, as long as one of them may be alive.
    pub evicted: Option<Evicted>,
    /// The current token, sealed under a key that only this session's tokens hold.
    pub handoff: Option<Vec<u8>>,
}

/// A superseded token.
#[derive(Debug, Clone, Copy)]
pub struct Retired {
    /// Of the token.
    pub fingerprint: Fingerprint,
    /// Which of the bucket's tokens it was.
    pub generation: u32,
    /// When its successor was issued.
    pub superseded_at: Timestamp,
    /// The last moment at which it is still handed the newest token; unset: not decided yet.
    pub dead_after: Option<Timestamp>,
}

/// The eviction watermark: all superseded tokens that a full list pushed out, remembered as one.
///
/// A token at or below it that the bucket does not know may belong to an honest client that was one of many at once, so
/// it is refused without an alarm. The watermark dies by the same rule as a single [`Retired`] token; an unknown token is
/// a replay again from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// The highest generation that was pushed out.
    pub generation: u32,
    /// When the last successor of one of them was issued.
    pub superseded_at: Timestamp,
    /// The last moment at which one of them may be alive; `None` until a later token was seen a grace after the last
    /// successor.
    pub dead_after: Option<Timestamp>,
}

/// Stands in the place of a bucket that was renewed or logged out, so that requests still under way learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The bucket's id.
    pub id: SessionId,
    /// When the bucket was ended.
    pub ended_at: Timestamp,
    /// When the tombstone itself may go: one grace later, or with the successor's absolute deadline.
    pub expires_at: Timestamp,
    /// The id that a logged-in session moved to. An ending that comes too late follows it, and a token that is presented
    /// more than a grace after the move is a replay.
    pub successor: Option<SessionId>,
}

/// Where a token stands whose bucket has become a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The session ended within the last grace: the request may have been under way.
    Recent,
    /// The session moved to this id more than a grace ago: the token's holder did not move with it.
    Replayed(SessionId),
    /// The session ended earlier, and its tombstone only waits for the purge.
    Past,
}

impl Tombstone {
    /// Returns the tombstone of a bucket that ends now, and stays for one grace.
    #[must_use]
    pub fn new(id: SessionId, now: Timestamp, policy: &BucketPolicy) -> Self {
        Self { id, ended_at: now, expires_at: now.after(policy.grace), successor: None }
    }

    /// Returns the tombstone of a logged-in bucket that moves to `successor` now. It stays for the longer of both lives:
    /// the successor's own may be shortened now, and prolonged again later.
    #[must_use]
    pub fn renewed(old: &Bucket, successor: &Bucket, now: Timestamp, policy: &BucketPolicy) -> Self {
        let expires_at = now.after(policy.grace).max(successor.expires_at).max(old.expires_at);
        Self { id: old.id, ended_at: now, expires_at, successor: Some(successor.id) }
    }

    /// Judges a token of the bucket that stood here.
    #[must_use]
    pub fn ending(&self, now: Timestamp, policy: &BucketPolicy) -> Ending {
        match self.successor {
            _ if now >= self.expires_at => Ending::Past,
            Some(successor) if now > self.ended_at.after(policy.grace) => Ending::Replayed(successor),
            _ => Ending::Recent,
        }
    }
}

/// What a store keeps under an id.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A live session, or one that expired and is not purged yet.
    Bucket(Bucket),
    /// A session that just ended.
    Tombstone(Tombstone),
}

impl Entry {
    /// The id that it is kept under.
    #[must_use]
    pub fn id(&self) -> SessionId {
        match self {
            Self::Bucket(bucket) => bucket.id,
            Self::Tombstone(tombstone) => tombstone.id,
        }
    }

    /// From when on a store may remove it.
    #[must_use]
    pub fn purge_at(&self) -> Timestamp {
        match self {
            Self::Bucket(bucket) => bucket.purge_at(),
            Self::Tombstone(tombstone) => tombstone.expires_at,
        }
    }
}

/// The rules' parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketPolicy {
    /// How long a token outlives the proof that its session moved on. Tolerates one-way delays of half of it.
    pub grace: Millis,
}

/// An admitted token's arrival: what the bucket learns from it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The token's generation.
    pub generation: u32,
    /// The token's fingerprint.
    pub fingerprint: Fingerprint,
    /// When the request arrived.
    pub at: Timestamp,
}

/// What a bucket is made with.
#[derive(Clone)]
pub struct NewBucket {
    /// A fresh random id.
    pub id: SessionId,
    /// Whom the session belongs to.
    pub subject: Option<SubjectTag>,
    /// What the application wrote on it, sealed.
    pub label: Option<Vec<u8>>,
    /// The absolute deadline.
    pub expires_at: Timestamp,
    /// How long the session may stay unseen.
    pub idle_timeout: Option<Millis>,
    /// Of its first token.
    pub first: Fingerprint,
}

/// What a rotation puts into the bucket.
#[derive(Clone)]
pub struct Succession {
    /// Of the next token, whose generation is [`Bucket::next_generation`].
    pub fingerprint: Fingerprint,
    /// The next token, sealed for those who hold an older one.
    pub handoff: Vec<u8>,
    /// The subject's tag, under the fingerprint key of the next token.
    pub subject: Option<SubjectTag>,
    /// The label, sealed under the fingerprint key of the next token.
    pub label: Option<Vec<u8>>,
    /// The absolute deadline.
    pub expires_at: Timestamp,
    /// How long the session may stay unseen.
    pub idle_timeout: Option<Millis>,
}

/// Where a token stands in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the newest one.
    Current,
    /// Superseded, and its holder may not know yet.
    Superseded,
    /// Superseded, its session was seen moving on: presented all the same, it is a replay.
    Replayed,
    /// Superseded, and one of more at once than the bucket remembers: perhaps alive, perhaps a replay.
    Evicted,
    /// We issued it, and the bucket does not know it: the store lost writes.
    Unremembered,
}

impl Bucket {
    /// A new bucket with its first token.
    #[must_use]
    pub fn create(new: NewBucket, now: Timestamp) -> Self {
        Self {
            id: new.id,
            revision: Revision::FIRST,
            subject: new.subject,
            label: new.label,
            created_at: now,
            last_seen_at: now,
            expires_at: new.expires_at,
            idle_timeout: new.idle_timeout,
            rotated_at: now,
            generation: FIRST_GENERATION,
            current: new.first,
            retired: Vec::new(),
            evicted: None,
            handoff: None,
        }
    }

    /// Whether the bucket is past its absolute deadline, or idle for too long.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp, policy: &BucketPolicy) -> bool {
        now >= self.expires_at
            || self.idle_timeout.is_some_and(|idle| now > self.last_seen_at.after(idle).after(self.touch_step(policy)))
    }

    /// Where a token with this generation and fingerprint stands. Times are not looked at here.
    #[must_use]
    pub fn standing(&self, generation: u32, fingerprint: &Fingerprint, now: Timestamp) -> Standing {
        if self.current.matches(fingerprint) {
            return Standing::Current;
        }
        match self.retired.iter().find(|retired| retired.fingerprint.matches(fingerprint)) {
            Some(retired) if retired.is_alive(now) => Standing::Superseded,
            Some(_) => Standing::Replayed,
            None if self.evicted.is_some_and(|evicted| evicted.covers(generation, now)) => Standing::Evicted,
            None if generation < self.generation => Standing::Replayed,
            None => Standing::Unremembered,
        }
    }

    /// Whether it is time to write `last_seen_at` (and with it what has settled).
    #[must_use]
    pub fn touch_due(&self, now: Timestamp, policy: &BucketPolicy) -> bool {
        now >= self.last_seen_at.after(self.touch_step(policy))
    }

    /// How far `last_seen_at` may lag: a minute, a twentieth of the idle timeout or one grace, the smallest.
    #[must_use]
    pub fn touch_step(&self, policy: &BucketPolicy) -> Millis {
        let idle = self.idle_timeout.map_or(MAX_TOUCH_STEP, |idle| Millis::new(idle.get() / 20));
        MAX_TOUCH_STEP.min(idle).min(policy.grace).max(Millis::new(1))
    }

    /// The generation of the next token; `None` after 2^32 - 1 of them.
    #[must_use]
    pub fn next_generation(&self) -> Option<u32> {
        self.generation.checked_add(1)
    }

    /// The bucket after a visit that issued no token.
    #[must_use]
    pub fn touched(&self, arrival: &Arrival, now: Timestamp, policy: &BucketPolicy) -> Self {
        let mut next = self.clone();
        next.advance(arrival, now, policy);
        next
    }

    /// The bucket after its next token was issued; `None` if there is no next generation.
    #[must_use]
    pub fn rotated(
        &self,
        arrival: &Arrival,
        succession: Succession,
        now: Timestamp,
        policy: &BucketPolicy,
    ) -> Option<Self> {
        let generation = self.next_generation()?;
        let now = self.monotonic(now);
        let mut retired = Vec::with_capacity(self.retired.len() + 1);
        retired.extend_from_slice(&self.retired);
        retired.push(Retired {
            fingerprint: self.current,
            generation: self.generation,
            superseded_at: now,
            dead_after: None,
        });
        let mut next = Self {
            id: self.id,
            revision: self.revision,
            subject: succession.subject,
            label: succession.label,
            created_at: self.created_at,
            last_seen_at: self.last_seen_at,
            expires_at: succession.expires_at,
            idle_timeout: succession.idle_timeout,
            rotated_at: now,
            generation,
            current: succession.fingerprint,
            retired,
            evicted: self.evicted,
            handoff: Some(succession.handoff),
        };
        next.advance(arrival, now, policy);
        Some(next)
    }

    /// The bucket with another label.
    #[must_use]
    pub fn labelled(&self, label: Option<Vec<u8>>) -> Self {
        Self { label, revision: self.revision.next(), ..self.clone() }
    }

    /// From when on a store may remove it.
    #[must_use]
    pub fn purge_at(&self) -> Timestamp {
        let deadline = self
            .idle_timeout
            .map_or(self.expires_at, |idle| self.expires_at.min(self.last_seen_at.after(idle).after(MAX_TOUCH_STEP)));
        deadline.after(PURGE_DELAY)
    }

    /// What every write does: see the session, settle, forget the dead, and count.
    fn advance(&mut self, arrival: &Arrival, now: Timestamp, policy: &BucketPolicy) {
        let now = self.monotonic(now);
        let arrived_at = arrival.at.min(now);
        self.retire_older(arrival.generation, arrived_at, policy);
        self.retired.retain(|retired| retired.is_alive(now));
        if let Some(index) = self.retired.iter().position(|retired| retired.fingerprint.matches(&arrival.fingerprint)) {
            // The list's order is that of the last presentation.
            self.retired[index..].rotate_left(1);
        }
        self.evicted = self.evicted.filter(|evicted| evicted.is_alive(now));
        let excess = self.retired.len().saturating_sub(MAX_RETIRED);
        let evicted = self.retired.drain(..excess).map(Evicted::from).chain(self.evicted);
        self.evicted = evicted.reduce(Evicted::with);
        if self.retired.is_empty() && now >= self.rotated_at.after(policy.grace) {
            self.handoff = None;
        }
        // Capacity is resident memory in a store that keeps the bucket as it is; one place is for the next rotation.
        self.retired.shrink_to(self.retired.len() + 1);
        self.last_seen_at = now;
        self.revision = self.revision.next();
    }

    /// A token was presented: its session has moved on past every older one, which now has a grace to live, if it had
    /// more than one already since it was superseded. (With exactly one, a response that left in the same millisecond
    /// may still put the older token back.)
    fn retire_older(&mut self, presented: u32, arrived_at: Timestamp, policy: &BucketPolicy) {
        let retire = |generation: u32, superseded_at: Timestamp, dead_after: &mut Option<Timestamp>| {
            if generation < presented && dead_after.is_none() && superseded_at.after(policy.grace) < arrived_at {
                *dead_after = Some(arrived_at.after(policy.grace));
            }
        };
        for retired in &mut self.retired {
            retire(retired.generation, retired.superseded_at, &mut retired.dead_after);
        }
        if let Some(evicted) = &mut self.evicted {
            retire(evicted.generation, evicted.superseded_at, &mut evicted.dead_after);
        }
    }

    /// Brings times back that a clock which ran ahead has left in the bucket; `None` if there are none.
    ///
    /// Times of a bucket never move backwards within [`CLOCK_TOLERANCE`]. What is further ahead of `now` was written during
    /// an excursion of some host's clock: it would keep an idle session, and a superseded token, alive for as long as the
    /// clock was ahead. The result is for judging a token now; the next write keeps it.
    #[must_use]
    pub fn corrected(&self, now: Timestamp, policy: &BucketPolicy) -> Option<Self> {
        let latest = now.after(CLOCK_TOLERANCE);
        // Every other time was written by then, or follows from one that was.
        if self.last_seen_at <= latest && self.rotated_at <= latest {
            return None;
        }
        let mut next = self.clone();
        for time in [&mut next.created_at, &mut next.last_seen_at, &mut next.rotated_at] {
            *time = now.min(*time);
        }
        let correct = |superseded_at: &mut Timestamp, dead_after: &mut Option<Timestamp>| {
            *superseded_at = now.min(*superseded_at);
            *dead_after = dead_after.map(|at| at.min(now.after(policy.grace)));
        };
        next.retired.iter_mut().for_each(|token| correct(&mut token.superseded_at, &mut token.dead_after));
        if let Some(evicted) = &mut next.evicted {
            correct(&mut evicted.superseded_at, &mut evicted.dead_after);
        }
        Some(next)
    }

    /// `now`, or the latest time that the bucket already has: its times never move backwards.
    fn monotonic(&self, now: Timestamp) -> Timestamp {
        now.max(self.last_seen_at).max(self.rotated_at)
    }
}

impl Retired {
    /// Whether its holder is still handed the newest token.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.dead_after.is_none_or(|dead_after| now <= dead_after)
    }
}

impl Evicted {
    /// Returns `true` if a token of this generation that the bucket does not know may be one of them, and alive.
    fn covers(&self, generation: u32, now: Timestamp) -> bool {
        generation <= self.generation && self.is_alive(now)
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        self.dead_after.is_none_or(|dead_after| now <= dead_after)
    }

    /// Both as one: as long as the one that lives longer.
    fn with(self, other: Self) -> Self {
        Self {
            generation: self.generation.max(other.generation),
            superseded_at: self.superseded_at.max(other.superseded_at),
            dead_after: self.dead_after.zip(other.dead_after).map(|(one, two)| one.max(two)),
        }
    }
}

impl From<Retired> for Evicted {
    fn from(token: Retired) -> Self {
        Self { generation: token.generation, superseded_at: token.superseded_at, dead_after: token.dead_after }
    }
}

/// What is sealed shows in `Debug` as its length.
struct Length<'a>(&'a [u8]);

impl fmt::Debug for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("revision", &self.revision)
            .field("subject", &self.subject)
            .field("label", &self.label.as_deref().map(Length))
            .field("created_at", &self.created_at)
            .field("last_seen_at", &self.last_seen_at)
            .field("expires_at", &self.expires_at)
            .field("idle_timeout", &self.idle_timeout)
            .field("rotated_at", &self.rotated_at)
            .field("generation", &self.generation)
            .field("retired", &self.retired)
            .field("evicted", &self.evicted)
            .field("handoff", &self.handoff.as_deref().map(Length))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewBucket")
            .field("subject", &self.subject)
            .field("label", &self.label.as_deref().map(Length))
            .field("expires_at", &self.expires_at)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Succession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Succession")
            .field("handoff", &Length(&self.handoff))
            .field("subject", &self.subject)
            .field("label", &self.label.as_deref().map(Length))
            .field("expires_at", &self.expires_at)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
