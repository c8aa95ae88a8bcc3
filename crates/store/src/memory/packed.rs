//! An entry as the memory store keeps it: the fields of every session in one place, the rest behind one pointer.

use secure_sessions_core::{
    Bucket, Entry, Evicted, Fingerprint, GroupTag, Millis, Retired, Revision, SessionId, SubjectTag, Timestamp,
    Tombstone, VaultId,
};

/// Bytes of a slot, which every session takes.
const SLOT_LEN: usize = 120;
const _: () = assert!(size_of::<Packed>() <= SLOT_LEN);

pub(super) enum Packed {
    Bucket(PackedBucket),
    Tombstone(Tombstone),
}

/// A [`Bucket`] without the spare room of its vectors.
pub(super) struct PackedBucket {
    id: SessionId,
    pub(super) revision: Revision,
    subject: Option<SubjectTag>,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    idle_timeout: Option<Millis>,
    rotated_at: Timestamp,
    generation: u32,
    current: Fingerprint,
    unsettled: Option<Box<Unsettled>>,
}

/// The fields that a session has for a while after a rotation, and those that few have: group, vault and label.
struct Unsettled {
    group: Option<GroupTag>,
    vault: Option<VaultId>,
    label: Option<Box<[u8]>>,
    retired: Box<[Retired]>,
    evicted: Option<Evicted>,
    handoff: Option<Box<[u8]>>,
}

impl Packed {
    /// Packs a tombstone, under the id that it is kept under.
    pub(super) fn tombstone(id: &SessionId, tombstone: Tombstone) -> Self {
        Self::Tombstone(Tombstone { id: *id, ..tombstone })
    }

    pub(super) fn id(&self) -> &SessionId {
        match self {
            Self::Bucket(bucket) => &bucket.id,
            Self::Tombstone(tombstone) => &tombstone.id,
        }
    }

    pub(super) fn subject(&self) -> Option<&SubjectTag> {
        match self {
            Self::Bucket(bucket) => bucket.subject.as_ref(),
            Self::Tombstone(_) => None,
        }
    }

    pub(super) fn group(&self) -> Option<&GroupTag> {
        match self {
            Self::Bucket(bucket) => bucket.unsettled.as_ref().and_then(|unsettled| unsettled.group.as_ref()),
            Self::Tombstone(_) => None,
        }
    }

    pub(super) fn purge_at(&self) -> Timestamp {
        match self {
            Self::Bucket(bucket) => bucket.settled().purge_at(),
            Self::Tombstone(tombstone) => tombstone.expires_at,
        }
    }
}

impl PackedBucket {
    pub(super) fn unpack(&self) -> Bucket {
        let mut bucket = self.settled();
        if let Some(unsettled) = &self.unsettled {
            bucket.group = unsettled.group;
            bucket.vault = unsettled.vault;
            bucket.label = unsettled.label.as_deref().map(Vec::from);
            bucket.retired = unsettled.retired.to_vec();
            bucket.evicted = unsettled.evicted;
            bucket.handoff = unsettled.handoff.as_deref().map(Vec::from);
        }
        bucket
    }

    /// Returns everything except the part behind the pointer.
    fn settled(&self) -> Bucket {
        Bucket {
            id: self.id,
            revision: self.revision,
            subject: self.subject,
            group: None,
            label: None,
            created_at: self.created_at,
            last_seen_at: self.last_seen_at,
            expires_at: self.expires_at,
            idle_timeout: self.idle_timeout,
            rotated_at: self.rotated_at,
            generation: self.generation,
            current: self.current,
            retired: Vec::new(),
            evicted: None,
            vault: None,
            handoff: None,
        }
    }
}

impl From<&Bucket> for Packed {
    fn from(bucket: &Bucket) -> Self {
        let is_settled = bucket.group.is_none()
            && bucket.vault.is_none()
            && bucket.label.is_none()
            && bucket.retired.is_empty()
            && bucket.evicted.is_none()
            && bucket.handoff.is_none();
        let unsettled = (!is_settled).then(|| {
            Box::new(Unsettled {
                group: bucket.group,
                vault: bucket.vault,
                label: bucket.label.as_deref().map(Box::from),
                retired: bucket.retired.as_slice().into(),
                evicted: bucket.evicted,
                handoff: bucket.handoff.as_deref().map(Box::from),
            })
        });
        Self::Bucket(PackedBucket {
            id: bucket.id,
            revision: bucket.revision,
            subject: bucket.subject,
            created_at: bucket.created_at,
            last_seen_at: bucket.last_seen_at,
            expires_at: bucket.expires_at,
            idle_timeout: bucket.idle_timeout,
            rotated_at: bucket.rotated_at,
            generation: bucket.generation,
            current: bucket.current,
            unsettled,
        })
    }
}

impl From<&Packed> for Entry {
    fn from(packed: &Packed) -> Self {
        match packed {
            Packed::Bucket(bucket) => Self::Bucket(bucket.unpack()),
            Packed::Tombstone(tombstone) => Self::Tombstone(*tombstone),
        }
    }
}
