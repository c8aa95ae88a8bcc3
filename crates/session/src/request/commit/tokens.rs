//! The tokens that a commit issues, and the buckets that hold their fingerprints.

use std::sync::Arc;

use secure_sessions_core::{
    Admitted, Bucket, Content, DataMap, FIRST_GENERATION, HandoffKey, Issued, Meta, NewBucket, RandomError, SessionId,
    Succession, Timestamp,
};

use super::Commit;
use crate::error::SessionError;
use crate::request::entropy::FIRST_TOKEN;
use crate::request::slot::SessionSlot;
use crate::request::state::Admission;

impl Commit<'_> {
    /// Creates a new bucket with its first token. After a login or renew, `old` is the bucket before it, and `true`
    /// says that it is a login.
    pub(super) fn first_token(
        &mut self,
        mut meta: Meta,
        data: DataMap,
        old: Option<(&Bucket, bool)>,
        slot: Option<&SessionSlot<'_>>,
    ) -> Result<Arc<Admission>, SessionError> {
        let now = self.now();
        self.entropy.prepare(FIRST_TOKEN).map_err(|_| RandomError)?;
        let id = match self.next_id {
            Some(id) => id,
            None => SessionId::random(&mut self.entropy)?,
        };
        let handoff_key = HandoffKey::random(&mut self.entropy)?;
        let (idle_timeout, lifetime) = self.manager.lifetimes(&meta);
        // Only a login begins a fresh lifetime: a renew must not extend the absolute deadline.
        let kept = old.filter(|(_, login)| !login).map(|(bucket, _)| bucket);
        let created_at = kept.map_or(now, |bucket| bucket.created_at);
        let expires_at = match kept {
            Some(bucket) if self.pending.settings.lifetime.is_none() => bucket.expires_at,
            _ => created_at.after(lifetime),
        };
        let label = match (&self.pending.label, old) {
            // A label is sealed under its bucket's id, so it moves to the new bucket only by sealing it again.
            (None, Some((bucket, _))) => {
                bucket.label.as_ref().and_then(|sealed| self.sealer.keyring().open_label(&bucket.id, sealed))
            }
            (label, _) => label.clone(),
        };
        let label = match label {
            Some(label) => Some(self.sealer.keyring().seal_label(&id, &label, &mut self.entropy)?),
            None => None,
        };
        self.caller.bind(self.sealer.keyring(), &id, &mut meta);
        let (issued, newest) = self.seal(id, handoff_key, FIRST_GENERATION, now, expires_at, meta, data)?;
        let bucket = Bucket::create(
            NewBucket { id, subject: issued.subject, label, expires_at, idle_timeout, first: issued.fingerprint },
            now,
        );
        let arrival = newest.arrival(now);
        let mut bucket = Bucket { created_at, ..bucket };
        if let Some(slot) = slot {
            slot.order(&mut bucket);
        }
        Ok(Arc::new(Admission {
            bucket,
            newest,
            arrival,
            to_deliver: Some(issued.token),
            is_corrected: false,
            made_here: true,
        }))
    }

    /// Creates the next token of the same bucket.
    pub(super) fn next_token(
        &mut self,
        live: &Admission,
        mut meta: Meta,
        data: DataMap,
    ) -> Result<Arc<Admission>, SessionError> {
        let (now, bucket) = (self.now(), &live.bucket);
        let generation = bucket.next_generation().ok_or(SessionError::Conflict)?;
        let sealer = Arc::clone(&self.sealer);
        let keyring = sealer.keyring();
        // Compared with the active keys of now: they may have been replaced since the request began.
        let same_key = live.newest.keys.fingerprint.0 == sealer.active_keys().fingerprint.0;
        let (idle_timeout, lifetime) = self.manager.lifetimes(&meta);
        let settings = &self.pending.settings;
        let expires_at =
            if settings.lifetime.is_some() { bucket.created_at.after(lifetime) } else { bucket.expires_at };
        let idle_timeout = if settings.idle_timeout.is_some() { idle_timeout } else { bucket.idle_timeout };
        let label = match &self.pending.label {
            Some(label) => Some(label.clone()),
            // A label under a replaced key is sealed again, so that the old key can be dropped in the end.
            None if !same_key => bucket.label.as_ref().and_then(|sealed| keyring.open_label(&bucket.id, sealed)),
            None => None,
        };
        let label = match label {
            Some(label) => Some(keyring.seal_label(&bucket.id, &label, &mut self.entropy)?),
            None => bucket.label.clone(),
        };
        let handoff_key = live.newest.handoff_key.clone();
        self.caller.bind_again(keyring, &bucket.id, &mut meta);
        let (issued, newest) = self.seal(bucket.id, handoff_key, generation, now, expires_at, meta, data)?;
        let handoff = sealer.seal_handoff(&bucket.id, &newest.handoff_key, &issued.token, &mut self.entropy)?;
        let succession = Succession {
            fingerprint: issued.fingerprint,
            handoff,
            subject: issued.subject,
            label,
            expires_at,
            idle_timeout,
        };
        let policy = &self.manager.times().bucket;
        let bucket = bucket.rotated(&live.arrival, succession, now, policy).ok_or(SessionError::Conflict)?;
        let (arrival, to_deliver, made_here) = (live.arrival, Some(issued.token), live.made_here);
        Ok(Arc::new(Admission { bucket, newest, arrival, to_deliver, is_corrected: false, made_here }))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a token's content, each named in `Content`")]
    fn seal(
        &mut self,
        session_id: SessionId,
        handoff_key: HandoffKey,
        generation: u32,
        issued_at: Timestamp,
        expires_at: Timestamp,
        meta: Meta,
        data: DataMap,
    ) -> Result<(Issued, Admitted), SessionError> {
        let content = Content {
            session_id,
            handoff_key: &handoff_key,
            generation,
            issued_at,
            expires_at,
            meta: &meta,
            data: &data,
        };
        let issued = self.sealer.seal(&content, &mut self.entropy)?;
        let newest = Admitted {
            session_id,
            generation,
            fingerprint: issued.fingerprint,
            handoff_key,
            issued_at,
            expires_at,
            keys: self.sealer.active_keys(),
            meta,
            data,
        };
        Ok((issued, newest))
    }
}
