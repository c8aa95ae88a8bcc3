//! Admission: an opened token meets its bucket.

use core::fmt;

use crate::bucket::{Arrival, Bucket, BucketPolicy, Standing};
use crate::data::DataMap;
use crate::format::MIN_BLOAT;
use crate::ids::{Fingerprint, HandoffKey, SessionId, SubjectTag};
use crate::meta::{Meta, MetaError};
use crate::opened::{Opened, SealedUnder};
use crate::sealer::{Content, Sealer, content_len, write_plaintext};
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// What the bucket says of a token.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "made and taken apart once per request; a box would be an allocation")]
pub enum Verdict {
    /// The newest token: here is its content.
    Current(Admitted),
    /// Superseded, and its holder may not know yet: [`Sealer::follow`] leads to the newest token.
    Superseded(Superseded),
    /// Past one of the deadlines, the token's or the bucket's.
    Expired,
    /// Its session has moved on without its holder: somebody presents a copy.
    Replayed,
    /// One of more superseded tokens at once than the bucket remembers: refused, and no reason for an alarm.
    Evicted,
    /// We issued it, and the bucket does not know it: the store lost writes.
    Unremembered,
    /// The newest token has an entry that a later version wrote and that must not be passed over. The session is alive on
    /// hosts of that version: the browser's cookie is to be left alone.
    Critical {
        /// The entry's key.
        key: u64,
    },
    /// The bucket was changed by somebody else who can write to the store.
    Tampered,
}

/// The content of a token that its bucket vouches for.
#[derive(Clone)]
pub struct Admitted {
    /// The bucket.
    pub session_id: SessionId,
    /// Which of the bucket's tokens this is.
    pub generation: u32,
    /// What the bucket keeps of it.
    pub fingerprint: Fingerprint,
    /// Leads from here to every later token of the same bucket.
    pub handoff_key: HandoffKey,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// The absolute deadline that it says.
    pub expires_at: Timestamp,
    /// The keys that it was made with.
    pub keys: SealedUnder,
    /// The engine's own entries.
    pub meta: Meta,
    /// The application's data.
    pub data: DataMap,
}

/// A superseded token that is still alive: no data, only the way to the newest.
pub struct Superseded {
    session_id: SessionId,
    generation: u32,
    fingerprint: Fingerprint,
    handoff_key: HandoffKey,
}

impl Admitted {
    /// What the bucket learns from this token's arrival.
    #[must_use]
    pub fn arrival(&self, at: Timestamp) -> Arrival {
        Arrival { generation: self.generation, fingerprint: self.fingerprint, at }
    }

    /// Returns the token as opening it would, to be judged again; `None` if it has a subject and `subject` is no tag, or the
    /// reverse.
    #[must_use]
    pub fn reopened(&self, subject: Option<&SubjectTag>) -> Option<Opened> {
        if self.meta.subject.is_some() != subject.is_some() {
            return None;
        }
        let content = Content {
            session_id: self.session_id,
            handoff_key: &self.handoff_key,
            generation: self.generation,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            meta: &self.meta,
            data: &self.data,
        };
        let length = content_len(&self.meta, &self.data) + MIN_BLOAT;
        let mut buffer = SecretBytes::with_capacity(length);
        write_plaintext(&content, subject, buffer.as_mut_vec());
        buffer.as_mut_vec().resize(length, 0);
        Opened::parse(buffer, 0..length, self.fingerprint, self.keys)
    }
}

impl Superseded {
    /// What the bucket learns from this token's arrival.
    #[must_use]
    pub fn arrival(&self, at: Timestamp) -> Arrival {
        Arrival { generation: self.generation, fingerprint: self.fingerprint, at }
    }

    /// The bucket.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Leads from here to every later token of the same bucket.
    #[must_use]
    pub fn handoff_key(&self) -> &HandoffKey {
        &self.handoff_key
    }
}

impl Sealer {
    /// Decides whether an opened token is still good, in the order of the protocol: times, then fingerprints.
    #[must_use]
    #[inline]
    pub fn admit(
        &self,
        bucket: &Bucket,
        opened: Opened,
        now: Timestamp,
        not_before: Option<Timestamp>,
        policy: &BucketPolicy,
    ) -> Verdict {
        if opened.session_id() != bucket.id {
            return Verdict::Tampered;
        }
        if !opened.is_timely(now, not_before) || bucket.is_expired(now, policy) {
            return Verdict::Expired;
        }
        match bucket.standing(opened.generation(), &opened.fingerprint(), now) {
            Standing::Current => match content(bucket, opened) {
                Ok(admitted) => Verdict::Current(admitted),
                Err(Unfit::Critical { key }) => Verdict::Critical { key },
                Err(Unfit::Tampered) => Verdict::Tampered,
            },
            Standing::Superseded => Verdict::Superseded(Superseded {
                session_id: opened.session_id(),
                generation: opened.generation(),
                fingerprint: opened.fingerprint(),
                handoff_key: opened.handoff_key(),
            }),
            Standing::Replayed => Verdict::Replayed,
            Standing::Evicted => Verdict::Evicted,
            Standing::Unremembered => Verdict::Unremembered,
        }
    }
}

/// Why a token that is the bucket's current one gives no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A later version wrote an entry that must not be passed over.
    Critical { key: u64 },
    /// The bucket says something else of it than the token itself.
    Tampered,
}

/// The content of the bucket's current token, if the bucket says the same of it as the token itself.
#[inline]
pub(crate) fn content(bucket: &Bucket, opened: Opened) -> Result<Admitted, Unfit> {
    let (session_id, generation, fingerprint) = (opened.session_id(), opened.generation(), opened.fingerprint());
    let (issued_at, expires_at, keys) = (opened.issued_at(), opened.expires_at(), opened.sealed_under());
    if session_id != bucket.id || generation != bucket.generation || !fingerprint.matches(&bucket.current) {
        return Err(Unfit::Tampered);
    }
    let (meta, tag) = opened.meta().map_err(|error| match error {
        MetaError::Critical { key } => Unfit::Critical { key },
        _ => Unfit::Tampered,
    })?;
    // The token has its tag only if it has a subject.
    let same_subject = match (&tag, &bucket.subject) {
        (None, None) => true,
        (Some(tag), Some(kept)) => tag.matches(kept),
        _ => false,
    };
    if !same_subject {
        return Err(Unfit::Tampered);
    }
    let handoff_key = opened.handoff_key();
    let data = opened.into_data().ok_or(Unfit::Tampered)?;
    Ok(Admitted { session_id, generation, fingerprint, handoff_key, issued_at, expires_at, keys, meta, data })
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl fmt::Debug for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Superseded").field("generation", &self.generation).finish_non_exhaustive()
    }
}
