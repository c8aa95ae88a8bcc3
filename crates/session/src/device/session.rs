//! The session whose cookie came along with a refresh, if one did: it may be over, or belong to another device.

use secure_sessions_core::{DeviceIdentifier, Ending, Meta, Opened, Timestamp, Verdict};
use secure_sessions_store::{Entry, SessionStore};

use crate::adapter::head::RequestHead;
use crate::manager::SessionManager;
use crate::request::device::Standing;
use crate::request::load;
use crate::transport::Transport;

/// The token of the only session that a request presented, opened and not judged.
pub(super) struct Witness {
    opened: Opened,
    at: Timestamp,
}

impl Witness {
    /// Opens the request's tokens; `None` if they are not of exactly one session.
    pub(super) fn of(manager: &SessionManager, head: &dyn RequestHead) -> Option<Self> {
        let (presented, transport) = load::open(manager, head);
        let opened = presented?.into_only().filter(|_| transport == Transport::Cookie)?;
        Some(Self { opened, at: manager.now() })
    }

    /// Returns `true` if the session is certainly over, or not that of the device: the browser then forgets the
    /// device's.
    ///
    /// In every case of doubt, such as a store that is down, it returns `false`: a ticket alone is worth nothing.
    pub(super) async fn contradicts(self, manager: &SessionManager, identifier: &DeviceIdentifier) -> bool {
        let Self { opened, at } = self;
        let (id, policy) = (opened.session_id(), &manager.times().bucket);
        if !opened.is_timely(at, manager.not_before()) {
            return true;
        }
        let bucket = match manager.store().load(&id).await {
            Ok(Some(Entry::Bucket(bucket))) => bucket,
            // A renewal whose cookie is on its way to the browser is no end. After a recent logout or login the browser may
            // be registering a newer key.
            Ok(Some(Entry::Tombstone(tombstone))) => return tombstone.ending(at, policy) == Ending::Past,
            Ok(None) => return true,
            Err(error) => {
                manager.store_failed("load", error);
                return false;
            }
        };
        let bucket = bucket.corrected(at, policy).unwrap_or(bucket);
        let sealer = manager.sealer(Transport::Cookie).clone();
        let may_be_registering = Standing::may_be_registering(manager, &bucket, at);
        let is_registered = || identifier.handle.is_some_and(|handle| sealer.keyring().is_handle_of(&handle, &id));
        let is_other = |meta: &Meta| match meta.device {
            _ if may_be_registering => false,
            Some(device) => device != identifier.key.id(),
            None => !is_registered(),
        };
        match sealer.admit(&bucket, opened, at, manager.not_before(), policy) {
            Verdict::Current(newest) => is_other(&newest.meta),
            Verdict::Superseded(superseded) => {
                let newest = sealer.follow(&bucket, superseded.handoff_key(), at, manager.not_before());
                newest.is_ok_and(|(newest, _)| is_other(&newest.meta))
            }
            Verdict::Expired => true,
            _ => false,
        }
    }
}
