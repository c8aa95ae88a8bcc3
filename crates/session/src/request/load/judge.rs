//! Judges one opened token by the store's entry for its session, and then by the client that presents it.

use std::sync::Arc;

use secure_sessions_core::{Bucket, DeviceId, Ending, HandoffError, Newest, Opened, SessionId, Tombstone, Verdict};
use secure_sessions_store::Entry;

use super::judged::Judged;
use super::presented::Presented;
use crate::event::{EndReason, Event};
use crate::manager::SessionManager;
use crate::request::caller::Caller;
use crate::request::ending::Owns;
use crate::request::state::{Admission, Other};

mod admit;

/// Judges the tokens of one request, one after another.
pub(super) struct Judge<'r> {
    pub(super) manager: &'r SessionManager,
    pub(super) caller: &'r Caller,
    pub(super) presented: &'r mut Presented,
}

/// Holds the statements of a token about its session. They are readable before the verdict.
struct Claims {
    id: SessionId,
    /// The client that the session is bound to.
    client: Option<Vec<u8>>,
    /// The device, or the key, that the session is bound to.
    device: Option<DeviceId>,
}

impl Judge<'_> {
    /// Judges the first token (removing it) by the store's entry for its session. What was already proven is not judged again.
    #[inline]
    pub(super) fn by_entry(&mut self, entry: Option<Entry>, proven: Option<Newest>) -> Judged {
        let Some(opened) = self.presented.first.take() else { return Judged::REFUSED };
        let claims = self.claims(&opened, proven.is_some());
        let judged = match entry {
            Some(Entry::Bucket(bucket)) => self.by_bucket(opened, bucket, proven),
            Some(Entry::Tombstone(tombstone)) => self.by_tombstone(&opened, &tombstone),
            None => self.ended(&claims.id),
        };
        match &judged {
            Judged::Live(live) if live.to_deliver.is_none() => self.presented.remember(live),
            _ => self.presented.forget(&claims.id),
        }
        let judged = self.admit_client(&claims, judged);
        let judged = self.admit_device(&claims, judged);
        let judged = self.admit_key(&claims, judged);
        if matches!(&judged, Judged::Live(live) if live.to_deliver.is_some()) {
            self.manager.emit_if_heard(|| Event::HandedOff { session: self.manager.handle(&claims.id) });
        }
        judged
    }

    /// Judges the first token (removing it), whose session is over by its own times.
    pub(super) fn by_times(&mut self) -> Judged {
        let Some(opened) = self.presented.first.take() else { return Judged::REFUSED };
        let claims = self.claims(&opened, false);
        self.presented.forget(&claims.id);
        let judged = self.expired(&claims.id, opened.subject());
        self.admit_client(&claims, judged)
    }

    /// Judges the first token (removing it) without the entry for its session, which the store cannot read.
    ///
    /// Only a logout removes such an entry, so an error here would lock this browser out for good.
    pub(super) fn without_entry(&mut self) -> Judged {
        let Some(opened) = self.presented.first.take() else { return Judged::REFUSED };
        let claims = self.claims(&opened, false);
        let session = Other { id: claims.id, subject: opened.subject(), vault: Owns::Unknown };
        self.admit_client(&claims, Judged::Unjudged { session, was_ended: false })
    }

    /// Reads what the token says of its session, as far as it matters. A device does only if the token is not the newest.
    #[inline]
    fn claims(&self, opened: &Opened, is_newest: bool) -> Claims {
        let manager = self.manager;
        let devices = manager.devices().is_some() || manager.dpop().is_some();
        let is_bound = manager.binding().is_some() || (devices && !is_newest);
        let (client, device) = if is_bound { opened.bindings() } else { (None, None) };
        Claims { id: opened.session_id(), client, device }
    }

    fn by_tombstone(&self, opened: &Opened, tombstone: &Tombstone) -> Judged {
        let other = |id| Other { id, subject: opened.subject(), vault: Owns::Unknown };
        match tombstone.ending(self.presented.at, &self.manager.times().bucket) {
            // Within a grace of a renew an honest request may still be under way: no replay, but a logout ends it.
            Ending::Recent if tombstone.successor.is_some() => {
                Judged::Unjudged { session: other(opened.session_id()), was_ended: true }
            }
            // The browser may already hold a newer login's cookie, which this response must not overwrite.
            Ending::Recent => Judged::JUST_OVER,
            Ending::Replayed(successor) => Judged::Replayed(other(successor)),
            Ending::Past => self.ended(&opened.session_id()),
        }
    }

    #[inline]
    fn by_bucket(&self, opened: Opened, bucket: Bucket, proven: Option<Newest>) -> Judged {
        let (manager, at, sealer) = (self.manager, self.presented.at, &self.presented.sealer);
        let (id, not_before, policy) = (opened.session_id(), manager.not_before(), &manager.times().bucket);
        let corrected = bucket.corrected(at, policy);
        let is_corrected = corrected.is_some();
        let bucket = corrected.unwrap_or(bucket);
        let live = |bucket, newest, arrival, to_deliver| {
            let mut live = Admission::new(manager, bucket, newest, arrival, to_deliver);
            live.is_corrected |= is_corrected;
            Judged::Live(Arc::new(live))
        };
        let vault = bucket.vault;
        let verdict = match proven {
            Some(newest) => sealer.admit_newest(newest, &bucket, opened),
            None => sealer.admit(&bucket, opened, at, not_before, policy),
        };
        match verdict {
            Verdict::Current(newest) => {
                let arrival = newest.arrival(at);
                live(bucket, newest, arrival, None)
            }
            Verdict::Superseded(superseded) => match sealer.follow(&bucket, superseded.handoff_key(), at, not_before) {
                Ok((newest, token)) => live(bucket, newest, superseded.arrival(at), Some(token)),
                Err(error) => self.without_handoff(&id, &error),
            },
            Verdict::Expired => self.expired(&id, None),
            Verdict::Replayed => Judged::Replayed(Other { id, subject: None, vault: Owns::Known(vault) }),
            Verdict::Critical { key } => self.critical(key),
            // Too many responses were under way at once: the token is honest, so refuse it without revoking.
            Verdict::Evicted => {
                manager.emit(&Event::CrowdedOut { session: manager.handle(&id) });
                Judged::OUTDATED
            }
            // We issued the token, but the bucket does not know it: the store has lost writes.
            Verdict::Unremembered => {
                manager.emit(&Event::Unremembered { session: manager.handle(&id) });
                Judged::REFUSED
            }
            _ => self.tampered(&id),
        }
    }

    /// Judges a superseded token whose session's newest token is out of reach.
    fn without_handoff(&self, id: &SessionId, error: &HandoffError) -> Judged {
        match *error {
            HandoffError::Expired => self.expired(id, None),
            HandoffError::UnknownKey { kind, id: key } => {
                self.manager.emit(&Event::UnknownKey { kind, key });
                Judged::REFUSED
            }
            HandoffError::Critical { key } => self.critical(key),
            // A bucket keeps its handoff while a superseded token lives, so this one was tampered with.
            _ => self.tampered(id),
        }
    }

    fn tampered(&self, id: &SessionId) -> Judged {
        self.manager.emit(&Event::StoreTampered { session: self.manager.handle(id) });
        Judged::REFUSED
    }

    /// Refuses a token with an entry of a later release that must not be ignored. The cookie stays, as for a later
    /// version.
    fn critical(&self, key: u64) -> Judged {
        self.manager.emit(&Event::CriticalEntry { key });
        Judged::OUTDATED
    }

    fn expired(&self, id: &SessionId, subject: Option<String>) -> Judged {
        self.manager.emit(&Event::Expired { session: self.manager.handle(id) });
        Judged::Expired(Other { id: *id, subject, vault: Owns::Unknown })
    }

    fn ended(&self, id: &SessionId) -> Judged {
        let (session, reason) = (Some(self.manager.handle(id)), EndReason::PresentedAfterEnd);
        self.manager.emit(&Event::Ended { session, count: 0, reason, logged_in: false });
        Judged::OVER
    }
}
