//! The bucket: the server's whole memory of a session. Every change is a pure function of bucket, event and time.

use core::fmt;

use crate::format::MAX_RETIRED;
use crate::ids::{Fingerprint, GroupTag, Revision, SessionId, SubjectTag, VaultId};
use crate::time::{Millis, Timestamp};

/// The generation of a bucket's first token.
pub const FIRST_GENERATION: u32 = 1;
/// The time from a bucket's deadline to its purge: until then, late requests still learn that it expired.
pub const PURGE_DELAY: Millis = Millis::from_secs(60 * 60);
/// The longest lag of `last_seen_at` that a policy can ask for, and so the longest delay of an idle timeout.
pub const MAX_TOUCH_STEP: Millis = Millis::from_secs(10 * 60);
/// The longest lag by default. A purge counts on it; a longer one only shortens the time in which late requests still learn
/// that the session expired.
pub const DEFAULT_TOUCH_STEP: Millis = Millis::from_secs(60);
const _: () =
    assert!(MAX_TOUCH_STEP.get() <= DEFAULT_TOUCH_STEP.get() + PURGE_DELAY.get(), "expired before it is purged");
/// The most that a time in a bucket may be ahead of the host's clock; beyond it, another host's clock ran ahead.
pub const CLOCK_TOLERANCE: Millis = Millis::from_secs(60);

/// The server's whole memory of one session: ids, fingerprints and times. Never its data.
#[derive(Clone)]
pub struct Bucket {
    /// The bucket's name.
    pub id: SessionId,
    /// The number that grows with every write; compare-and-swap compares it.
    pub revision: Revision,
    /// The keyed tag of the logged-in subject; `None` if nobody is logged in.
    pub subject: Option<SubjectTag>,
    /// The keyed tag of the session at an identity provider that the login came from; `None` if there is none.
    pub group: Option<GroupTag>,
    /// The vault with the session's private and large values; `None` if it never had any.
    pub vault: Option<VaultId>,
    /// The application's label of the session, sealed.
    pub label: Option<Vec<u8>>,
    /// The time when the bucket was made.
    pub created_at: Timestamp,
    /// The time when the session was last seen; it lags by at most a touch step.
    pub last_seen_at: Timestamp,
    /// The absolute deadline.
    pub expires_at: Timestamp,
    /// The idle timeout; `None` if there is none.
    pub idle_timeout: Option<Millis>,
    /// The time when the current token was issued.
    pub rotated_at: Timestamp,
    /// The number of the current token, which counts the tokens issued.
    pub generation: u32,
    /// The fingerprint of the current token.
    pub current: Fingerprint,
    /// The superseded tokens that are not dead yet, the least recently presented first.
    pub retired: Vec<Retired>,
    /// The superseded tokens that `retired` had no room for, as long as one of them may be alive.
    pub evicted: Option<Evicted>,
    /// The current token, sealed under a key that only this session's tokens hold.
    pub handoff: Option<Vec<u8>>,
}

/// The times of a bucket that decide how long it lives, with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifespan {
    /// The bucket's name.
    pub id: SessionId,
    /// The time when the bucket was made.
    pub created_at: Timestamp,
    /// The time when the session was last seen; it lags by at most a touch step.
    pub last_seen_at: Timestamp,
    /// The absolute deadline.
    pub expires_at: Timestamp,
    /// The idle timeout; `None` if there is none.
    pub idle_timeout: Option<Millis>,
}

impl Lifespan {
    /// Returns `true` if the bucket is past its absolute deadline, or was idle for too long.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp, policy: &BucketPolicy) -> bool {
        now >= self.expires_at
            || self.idle_timeout.is_some_and(|idle| now > self.last_seen_at.after(idle).after(self.touch_step(policy)))
    }

    fn touch_step(&self, policy: &BucketPolicy) -> Millis {
        let part = |of: u64| self.idle_timeout.map_or(Millis::new(u64::MAX), |idle| Millis::new(idle.get() / of));
        let step = match policy.touch_step {
            None => DEFAULT_TOUCH_STEP.min(part(20)).min(policy.grace),
            Some(step) => step.min(part(4)),
        };
        step.clamp(Millis::new(1), MAX_TOUCH_STEP)
    }
}

impl AsRef<SessionId> for Lifespan {
    fn as_ref(&self) -> &SessionId {
        &self.id
    }
}

/// A superseded token.
#[derive(Debug, Clone, Copy)]
pub struct Retired {
    /// The token's fingerprint.
    pub fingerprint: Fingerprint,
    /// The token's number within its bucket.
    pub generation: u32,
    /// The time when its successor was issued.
    pub superseded_at: Timestamp,
    /// The last moment at which its holder is handed the newest token; `None` while that is not decided.
    pub dead_after: Option<Timestamp>,
}

/// The eviction watermark: one record of all superseded tokens that a full list pushed out.
///
/// An unknown token at or below the watermark may belong to an honest client that was one of many at once, so it is
/// refused without an alarm. The watermark dies by the same rule as a single [`Retired`] token; from then on, such a token
/// is a replay again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// The highest generation that was pushed out.
    pub generation: u32,
    /// The time when the last of their successors was issued.
    pub superseded_at: Timestamp,
    /// The last moment at which one of them may be alive; `None` until a later token is seen more than a grace after the
    /// last successor.
    pub dead_after: Option<Timestamp>,
}

/// The record in the place of a bucket that was renewed or logged out: it tells requests that are still under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The bucket's id.
    pub id: SessionId,
    /// The time when the bucket was ended.
    pub ended_at: Timestamp,
    /// The time from which the tombstone may be removed: one grace later, or the successor's absolute deadline.
    pub expires_at: Timestamp,
    /// The id that a logged-in session moved to. A late ending follows it, and a token presented more than a grace after the
    /// move is a replay.
    pub successor: Option<SessionId>,
}

/// The standing of a token whose bucket has become a tombstone.
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

/// The record that a store keeps under an id.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A live session, or an expired one that is not purged yet.
    Bucket(Bucket),
    /// A session that was renewed or logged out.
    Tombstone(Tombstone),
}

impl Entry {
    /// Returns the id that the entry is kept under.
    #[must_use]
    pub fn id(&self) -> SessionId {
        match self {
            Self::Bucket(bucket) => bucket.id,
            Self::Tombstone(tombstone) => tombstone.id,
        }
    }

    /// Returns the time from which a store may remove it.
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
    /// The time that a superseded token outlives the proof that its session moved on. Tolerates one-way delays of half of it.
    pub grace: Millis,
    /// The most that `last_seen_at` may lag, up to [`MAX_TOUCH_STEP`]; `None` for the default.
    pub touch_step: Option<Millis>,
}

/// The arrival of an admitted token.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The token's generation.
    pub generation: u32,
    /// The token's fingerprint.
    pub fingerprint: Fingerprint,
    /// The time when the request arrived.
    pub at: Timestamp,
}

/// The values that a bucket is made with.
#[derive(Clone)]
pub struct NewBucket {
    /// A fresh random id.
    pub id: SessionId,
    /// The keyed tag of the subject, if somebody is logged in.
    pub subject: Option<SubjectTag>,
    /// The keyed tag of the session at the identity provider, if the login came from one.
    pub group: Option<GroupTag>,
    /// The application's label of the session, sealed.
    pub label: Option<Vec<u8>>,
    /// The absolute deadline.
    pub expires_at: Timestamp,
    /// The idle timeout; `None` if there is none.
    pub idle_timeout: Option<Millis>,
    /// The fingerprint of its first token.
    pub first: Fingerprint,
}

/// The values that a rotation puts into the bucket.
#[derive(Clone)]
pub struct Succession {
    /// The fingerprint of the next token, whose generation is [`Bucket::next_generation`].
    pub fingerprint: Fingerprint,
    /// The next token, sealed for the holders of older ones.
    pub handoff: Vec<u8>,
    /// The subject's tag, under the fingerprint key of the next token.
    pub subject: Option<SubjectTag>,
    /// The group's tag, under the fingerprint key of the next token.
    pub group: Option<GroupTag>,
    /// The label, sealed under the fingerprint key of the next token.
    pub label: Option<Vec<u8>>,
    /// The absolute deadline.
    pub expires_at: Timestamp,
    /// The idle timeout; `None` if there is none.
    pub idle_timeout: Option<Millis>,
}

/// The standing of a token in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The newest token.
    Current,
    /// A superseded token whose holder may not have the next one yet.
    Superseded,
    /// A superseded token whose session was seen moving on: a replay.
    Replayed,
    /// A superseded token that a full bucket has forgotten: perhaps alive, perhaps a replay.
    Evicted,
    /// A token that we issued and the bucket does not know: the store lost writes.
    Unremembered,
}

impl AsRef<SessionId> for Bucket {
    fn as_ref(&self) -> &SessionId {
        &self.id
    }
}

impl Bucket {
    /// Makes a new bucket with its first token.
    #[must_use]
    pub fn create(new: NewBucket, now: Timestamp) -> Self {
        Self {
            id: new.id,
            revision: Revision::FIRST,
            subject: new.subject,
            group: new.group,
            vault: None,
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

    /// Returns `true` if the bucket is past its absolute deadline, or was idle for too long.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp, policy: &BucketPolicy) -> bool {
        self.lifespan().is_expired(now, policy)
    }

    /// Returns its times, with its id.
    #[must_use]
    pub fn lifespan(&self) -> Lifespan {
        Lifespan {
            id: self.id,
            created_at: self.created_at,
            last_seen_at: self.last_seen_at,
            expires_at: self.expires_at,
            idle_timeout: self.idle_timeout,
        }
    }

    /// Returns the standing of a token with this generation and fingerprint. Does not look at deadlines.
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

    /// Returns `true` if it is time to write `last_seen_at`, and with it the ends of older tokens.
    #[must_use]
    pub fn touch_due(&self, now: Timestamp, policy: &BucketPolicy) -> bool {
        now >= self.last_seen_at.after(self.touch_step(policy))
    }

    /// Returns how far `last_seen_at` may lag: by default a minute, a twentieth of the idle timeout or a grace, the smallest of
    /// them; else the policy's step, or a quarter of the idle timeout if that is less.
    #[must_use]
    pub fn touch_step(&self, policy: &BucketPolicy) -> Millis {
        self.lifespan().touch_step(policy)
    }

    /// Returns the generation of the next token; `None` after 2^32 - 1 tokens.
    #[must_use]
    pub fn next_generation(&self) -> Option<u32> {
        self.generation.checked_add(1)
    }

    /// Returns the bucket after a visit that issued no token.
    #[must_use]
    pub fn touched(&self, arrival: &Arrival, now: Timestamp, policy: &BucketPolicy) -> Self {
        let mut next = self.clone();
        next.advance(arrival, now, policy);
        next
    }

    /// Returns the bucket after its next token was issued; `None` if there is no next generation.
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
            group: succession.group,
            vault: self.vault,
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

    /// Returns the bucket of a session that has values in this vault.
    #[must_use]
    pub fn with_vault(self, vault: Option<VaultId>) -> Self {
        Self { vault, ..self }
    }

    /// Returns the bucket with another label.
    #[must_use]
    pub fn labelled(&self, label: Option<Vec<u8>>) -> Self {
        Self { label, revision: self.revision.next(), ..self.clone() }
    }

    /// Returns the time from which a store may remove it.
    #[must_use]
    pub fn purge_at(&self) -> Timestamp {
        let deadline = self.idle_timeout.map_or(self.expires_at, |idle| {
            self.expires_at.min(self.last_seen_at.after(idle).after(DEFAULT_TOUCH_STEP))
        });
        deadline.after(PURGE_DELAY)
    }

    /// Does what every write does: sees the session, retires older tokens, drops dead ones, and counts the revision.
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

    /// Gives every token older than the presented one its end, one grace from now, if it was superseded more than a grace
    /// ago. (After exactly one grace, a response that left in the same millisecond may still put the older token back.)
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

    /// Returns the bucket without the times that a clock left there which ran ahead; `None` if there are none.
    ///
    /// Times of a bucket never move backwards within [`CLOCK_TOLERANCE`]. A time further ahead of `now` was written while some
    /// host's clock ran ahead: it would keep an idle session, and a superseded token, alive for as long as the clock was
    /// ahead. Judge the token by the result; the next write keeps it.
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

    /// Returns `now`, or the latest time of the bucket if that is later: its times never move backwards.
    fn monotonic(&self, now: Timestamp) -> Timestamp {
        now.max(self.last_seen_at).max(self.rotated_at)
    }
}

impl Retired {
    /// Returns `true` while its holder is handed the newest token.
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

    /// Merges two watermarks; the result lives as long as the longer one.
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

/// Shows sealed bytes in `Debug` as their length.
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
            .field("group", &self.group)
            .field("vault", &self.vault)
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
            .field("group", &self.group)
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
            .field("group", &self.group)
            .field("label", &self.label.as_deref().map(Length))
            .field("expires_at", &self.expires_at)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
