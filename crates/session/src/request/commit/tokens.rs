//! The tokens that a commit issues, and the buckets that hold their fingerprints.

use std::sync::Arc;

use secure_sessions_core::{
    Admitted, Bucket, Content, DataMap, FIRST_GENERATION, HandoffKey, Issued, Meta, Millis, NewBucket, RandomError,
    SessionId, Succession, Timestamp,
};

use super::Commit;
use crate::error::SessionError;
use crate::request::entropy::FIRST_TOKEN;
use crate::request::slot::SessionSlot;
use crate::request::state::Admission;

/// The content of a token that is about to be sealed.
struct Next {
    session_id: SessionId,
    handoff_key: HandoffKey,
    generation: u32,
    issued_at: Timestamp,
    expires_at: Timestamp,
    meta: Meta,
    data: DataMap,
}

impl Commit<'_> {
    /// Creates a new bucket with its first token. After a login or renew, `old` is the bucket before it.
    pub(super) fn first_token(
        &mut self,
        mut meta: Meta,
        data: DataMap,
        old: Option<&Bucket>,
        slot: Option<&SessionSlot<'_>>,
    ) -> Result<Arc<Admission>, SessionError> {
        let now = self.now();
        self.entropy.prepare(FIRST_TOKEN).map_err(|_| RandomError)?;
        let id = match self.next_id {
            Some(id) => id,
            None => SessionId::random(&mut self.entropy)?,
        };
        let handoff_key = match self.vault.handoff_key.clone() {
            Some(key) => key,
            None => HandoffKey::random(&mut self.entropy)?,
        };
        let (idle_timeout, lifetime) = self.manager.lifetimes(&meta);
        // Only a login begins a fresh lifetime: a renew must not extend the absolute deadline.
        let kept = old.filter(|_| !self.pending.logs_in());
        let created_at = kept.map_or(now, |bucket| bucket.created_at);
        let expires_at = self.deadline(kept, now, lifetime);
        let label = self.seal_label(&id, old)?;
        self.caller.bind(self.sealer.keyring(), &id, &mut meta);
        if self.pending.logs_in() {
            meta.device = self.caller.key_to_bind();
        }
        let (generation, issued_at) = (FIRST_GENERATION, now);
        let next = Next { session_id: id, handoff_key, generation, issued_at, expires_at, meta, data };
        let (issued, newest) = self.seal(next)?;
        let Issued { token, fingerprint: first, subject, group } = issued;
        let bucket = Bucket::create(NewBucket { id, subject, group, label, expires_at, idle_timeout, first }, now);
        let arrival = newest.arrival(now);
        let mut bucket = Bucket { created_at, ..bucket }.with_vault(self.vault.of_next);
        if let Some(slot) = slot {
            slot.order(&mut bucket);
        }
        Ok(Arc::new(Admission {
            bucket,
            newest,
            arrival,
            to_deliver: Some(token),
            is_corrected: false,
            made_here: true,
            came_unbound: false,
        }))
    }

    /// Returns the absolute deadline of the next token's session, which goes on from the bucket `kept` if there is one.
    pub(super) fn deadline(&self, kept: Option<&Bucket>, now: Timestamp, lifetime: Millis) -> Timestamp {
        match kept {
            Some(bucket) if self.pending.settings.lifetime.is_none() => bucket.expires_at,
            _ => kept.map_or(now, |bucket| bucket.created_at).after(lifetime),
        }
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
        let expires_at = self.deadline(Some(bucket), now, lifetime);
        let idle_timeout = if settings.idle_timeout.is_some() { idle_timeout } else { bucket.idle_timeout };
        // A label under a replaced key is sealed again, so that the old key can be dropped in the end.
        let relabelled = Some(bucket).filter(|_| !same_key);
        let label = self.seal_label(&bucket.id, relabelled)?.or_else(|| bucket.label.clone());
        let handoff_key = live.newest.handoff_key.clone();
        self.caller.bind_again(keyring, &bucket.id, &mut meta);
        let (session_id, issued_at) = (bucket.id, now);
        let next = Next { session_id, handoff_key, generation, issued_at, expires_at, meta, data };
        let (issued, newest) = self.seal(next)?;
        let handoff = sealer.seal_handoff(&bucket.id, &newest.handoff_key, &issued.token, &mut self.entropy)?;
        let succession = Succession {
            fingerprint: issued.fingerprint,
            handoff,
            subject: issued.subject,
            group: issued.group,
            label,
            expires_at,
            idle_timeout,
        };
        let policy = &self.manager.times().bucket;
        let vault = self.vault.of_next.or(bucket.vault);
        let bucket = bucket.rotated(&live.arrival, succession, now, policy).ok_or(SessionError::Conflict)?;
        let bucket = bucket.with_vault(vault);
        let (arrival, to_deliver, made_here) = (live.arrival, Some(issued.token), live.made_here);
        let (is_corrected, came_unbound) = (false, live.came_unbound);
        Ok(Arc::new(Admission { bucket, newest, arrival, to_deliver, is_corrected, made_here, came_unbound }))
    }

    /// Seals the label that is to be set, or else that of the bucket `old`, which was sealed under its own id or another key.
    fn seal_label(&mut self, id: &SessionId, old: Option<&Bucket>) -> Result<Option<Vec<u8>>, SessionError> {
        let keyring = self.sealer.keyring();
        let opened = || old.and_then(|old| keyring.open_label(&old.id, old.label.as_ref()?));
        match self.pending.label.clone().or_else(opened) {
            Some(label) => Ok(Some(keyring.seal_label(id, &label, &mut self.entropy)?)),
            None => Ok(None),
        }
    }

    /// Seals a token, and returns it with what a request knows of it once it is admitted.
    fn seal(&mut self, next: Next) -> Result<(Issued, Admitted), SessionError> {
        let Next { session_id, handoff_key, generation, issued_at, expires_at, meta, data } = next;
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
        let (fingerprint, keys) = (issued.fingerprint, self.sealer.active_keys());
        let newest =
            Admitted { session_id, generation, fingerprint, handoff_key, issued_at, expires_at, keys, meta, data };
        Ok((issued, newest))
    }
}
