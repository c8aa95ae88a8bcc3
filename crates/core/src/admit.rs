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

/// The verdict of a bucket on a token.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "made and taken apart once per request; a box would be an allocation")]
pub enum Verdict {
    /// The newest token, with its content.
    Current(Admitted),
    /// A superseded token whose holder may not have the next one yet: [`Sealer::follow`] leads to the newest.
    Superseded(Superseded),
    /// A token past a deadline: its own or the bucket's.
    Expired,
    /// A copy: the session was seen moving on without the holder of this token.
    Replayed,
    /// A superseded token that a full bucket has forgotten: refuse it, and raise no alarm.
    Evicted,
    /// A token that we issued and the bucket does not know: the store lost writes.
    Unremembered,
    /// The newest token, with a critical entry that a later version wrote. Its session is alive on hosts of that version:
    /// leave the browser's cookie alone.
    Critical {
        /// The entry's key.
        key: u64,
    },
    /// A bucket that somebody else changed in the store.
    Tampered,
}

/// The content of a token that its bucket vouches for.
#[derive(Clone)]
pub struct Admitted {
    /// The id of the bucket.
    pub session_id: SessionId,
    /// The number of this token within its bucket.
    pub generation: u32,
    /// The fingerprint that the bucket keeps of this token.
    pub fingerprint: Fingerprint,
    /// The key that opens the handoff to every later token of this bucket.
    pub handoff_key: HandoffKey,
    /// The time when the token was issued.
    pub issued_at: Timestamp,
    /// The absolute deadline, as the token states it.
    pub expires_at: Timestamp,
    /// The keys that the token was made with, and their states.
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
    /// Returns the arrival of this token, for the bucket to record.
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
    /// Returns the arrival of this token, for the bucket to record.
    #[must_use]
    pub fn arrival(&self, at: Timestamp) -> Arrival {
        Arrival { generation: self.generation, fingerprint: self.fingerprint, at }
    }

    /// Returns the id of the bucket.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Returns the key that opens the handoff to every later token of this bucket.
    #[must_use]
    pub fn handoff_key(&self) -> &HandoffKey {
        &self.handoff_key
    }
}

impl Sealer {
    /// Judges an opened token by its bucket, in the order of the protocol: times first, then fingerprints.
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
        if let Some(newest) = self.newest(bucket, &opened, now, not_before, policy) {
            return self.admit_newest(newest, bucket, opened);
        }
        if opened.session_id() != bucket.id {
            return Verdict::Tampered;
        }
        if !opened.is_timely(now, not_before) || bucket.is_expired(now, policy) {
            return Verdict::Expired;
        }
        match bucket.standing(opened.generation(), &opened.fingerprint(), now) {
            // Its fingerprint is the bucket's, and its id or generation is not.
            Standing::Current => Verdict::Tampered,
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

    /// Returns the proof that a token is its bucket's current one, and that neither is past a deadline. Most tokens are,
    /// and need no other judgement: [`admit_newest`](Self::admit_newest) takes the proof.
    #[must_use]
    #[inline]
    pub fn newest(
        &self,
        bucket: &Bucket,
        opened: &Opened,
        now: Timestamp,
        not_before: Option<Timestamp>,
        policy: &BucketPolicy,
    ) -> Option<Newest> {
        let is_newest = opened.session_id() == bucket.id
            && opened.generation() == bucket.generation
            && bucket.current.matches(&opened.fingerprint())
            && opened.is_timely(now, not_before)
            && !bucket.is_expired(now, policy);
        is_newest.then_some(Newest(()))
    }

    /// Admits a token that was proven to be its bucket's current one.
    ///
    /// A proof of another token gives nothing: the content is that of the bucket's current token, or none.
    #[must_use]
    #[inline]
    pub fn admit_newest(&self, _proof: Newest, bucket: &Bucket, opened: Opened) -> Verdict {
        match content(bucket, opened) {
            Ok(admitted) => Verdict::Current(admitted),
            Err(Unfit::Critical { key }) => Verdict::Critical { key },
            Err(Unfit::Tampered) => Verdict::Tampered,
        }
    }
}

/// Proof that times and fingerprint of a token were judged, and found to be those of its bucket's current one: see
/// [`Sealer::newest`].
#[derive(Debug)]
pub struct Newest(());

/// The reason why the bucket's current token gives no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The token has a critical entry that a later version wrote.
    Critical { key: u64 },
    /// The bucket contradicts the token.
    Tampered,
}

/// Returns the content of the bucket's current token, if bucket and token agree.
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
