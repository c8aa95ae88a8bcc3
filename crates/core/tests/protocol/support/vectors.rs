//! The shape of the vector files. Bytes are hexadecimal, times milliseconds since the epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use secure_sessions_core::{
    DataMap, DeviceId, Keyring, Meta, Millis, ProviderSession, Reference, Sealer, SizeClasses, Sizes, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::hex;
use super::random::Replay;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct File<C> {
    pub(crate) about: String,
    pub(crate) cases: Vec<C>,
}

/// The keys of a ring in their text form; the first of each list is active.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) seal: Vec<String>,
    pub(crate) fingerprint: Vec<String>,
    pub(crate) compromised: Vec<String>,
}

impl Keys {
    pub(crate) fn ring(&self) -> Arc<Keyring> {
        let lists = [&self.seal, &self.fingerprint, &self.compromised].map(|list| list.join(","));
        let builder = Keyring::builder().parse(&lists[0], &lists[1], &lists[2]).expect("keys");
        Arc::new(builder.build().expect("a ring"))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Classes {
    Step(usize),
    List(Vec<usize>),
    Fixed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MetaEntries {
    pub(crate) subject: Option<String>,
    pub(crate) authenticated_at: Option<u64>,
    pub(crate) assurance_level: Option<u8>,
    pub(crate) persistent: Option<bool>,
    pub(crate) idle_timeout: Option<u64>,
    pub(crate) lifetime: Option<u64>,
    pub(crate) binding: Option<String>,
    pub(crate) flash: Option<String>,
    /// The bytes of each reference by its key.
    pub(crate) vault: Option<BTreeMap<String, String>>,
    pub(crate) device: Option<String>,
    pub(crate) provider_session: Option<String>,
}

impl MetaEntries {
    pub(crate) fn of(meta: &Meta) -> Self {
        Self {
            subject: meta.subject.clone(),
            authenticated_at: meta.authenticated_at.map(Timestamp::as_millis),
            assurance_level: meta.assurance_level,
            persistent: meta.persistent,
            idle_timeout: meta.idle_timeout.map(Millis::get),
            lifetime: meta.lifetime.map(Millis::get),
            binding: meta.binding.as_deref().map(hex::encode),
            flash: meta.flash.as_deref().map(hex::encode),
            // The secrets of a reference do not come out of it: the case has them.
            vault: None,
            device: meta.device.map(|device| hex::encode(device.as_bytes())),
            provider_session: meta.provider_session.map(|session| hex::encode(session.as_bytes())),
        }
    }

    pub(crate) fn to_meta(&self) -> Meta {
        let mut meta = Meta::default();
        meta.subject.clone_from(&self.subject);
        meta.authenticated_at = self.authenticated_at.map(Timestamp::from_millis);
        meta.assurance_level = self.assurance_level;
        meta.persistent = self.persistent;
        meta.idle_timeout = self.idle_timeout.map(Millis::new);
        meta.lifetime = self.lifetime.map(Millis::new);
        meta.binding = self.binding.as_deref().map(hex::decode);
        meta.flash = self.flash.as_deref().map(hex::decode);
        for (key, bytes) in self.vault.iter().flatten() {
            meta.vault.insert(key, reference(&hex::decode(bytes))).expect("within the limits");
        }
        meta.device = self.device.as_deref().map(|device| DeviceId::from_bytes(hex::array(device)));
        meta.provider_session =
            self.provider_session.as_deref().map(|session| ProviderSession::from_bytes(hex::array(session)));
        meta
    }
}

/// The reference of these bytes: the secret, and the length of the value.
pub(crate) fn reference(bytes: &[u8]) -> Reference {
    let (secret, length) = bytes.split_last_chunk().expect("a length");
    Reference::draw(u16::from_be_bytes(*length).into(), &mut Replay(secret)).expect("32 bytes")
}

/// One private value with its reference and its blob.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VaultCase {
    pub(crate) name: String,
    pub(crate) context: String,
    pub(crate) reference: String,
    pub(crate) value: String,
    pub(crate) blob_id: String,
    pub(crate) blob: String,
    /// The handoff key of the session that put its first value, and the name of its vault.
    pub(crate) handoff_key: String,
    pub(crate) vault_id: String,
}

/// One token with all that went into it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenCase {
    pub(crate) name: String,
    /// The ring that opens it.
    pub(crate) keyring: Keys,
    /// The keys that were active when it was sealed.
    pub(crate) sealed_by: Keys,
    pub(crate) context: String,
    pub(crate) limit: usize,
    pub(crate) size_classes: Classes,
    pub(crate) session_id: String,
    pub(crate) handoff_key: String,
    pub(crate) generation: u32,
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
    pub(crate) meta: MetaEntries,
    pub(crate) meta_cbor: String,
    pub(crate) data_cbor: String,
    /// Nonce, then seed: the random bytes in the order in which they are drawn.
    pub(crate) random: String,
    pub(crate) token: String,
    pub(crate) cookie: String,
    pub(crate) issue_mark: String,
    pub(crate) fingerprint: String,
    /// The tag of the subject, under the fingerprint key of the token.
    pub(crate) subject_tag: Option<String>,
    /// The tag of the group, for the bucket.
    pub(crate) group_tag: Option<String>,
    /// The states of the two keys in the ring.
    pub(crate) seal_key_state: String,
    pub(crate) fingerprint_key_state: String,
}

impl TokenCase {
    pub(crate) fn sealer(&self, keys: &Keys) -> Sealer {
        let classes = match &self.size_classes {
            Classes::Step(step) => SizeClasses::Step(*step),
            Classes::List(list) => SizeClasses::List(list.clone()),
            Classes::Fixed => SizeClasses::Fixed,
        };
        let sizes = Sizes::new(self.context.len(), self.limit, classes).expect("sizes");
        Sealer::new(keys.ring(), &self.context, sizes).expect("a context")
    }

    pub(crate) fn data(&self) -> DataMap {
        DataMap::from_cbor(&hex::decode(&self.data_cbor)).expect("a data map")
    }
}

/// One handoff: the successor that it holds is `token`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HandoffCase {
    pub(crate) name: String,
    pub(crate) keyring: Keys,
    /// The seal key that was active when it was sealed.
    pub(crate) sealed_by: String,
    pub(crate) context: String,
    pub(crate) session_id: String,
    pub(crate) handoff_key: String,
    pub(crate) generation: u32,
    /// The nonce.
    pub(crate) random: String,
    pub(crate) token: String,
    pub(crate) fingerprint: String,
    pub(crate) handoff: String,
    /// Unset: it opens. Set: it is refused for this reason.
    pub(crate) refused: Option<String>,
}

/// One key with everything that is derived from it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyCase {
    pub(crate) key: String,
    pub(crate) bytes: String,
    pub(crate) id: String,
    pub(crate) subkeys: std::collections::BTreeMap<String, String>,
}

/// The values derived from one fingerprint key for one session and one subject.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TagCase {
    pub(crate) key: String,
    pub(crate) session_id: String,
    pub(crate) subject: String,
    /// The cookie whose subject it is.
    pub(crate) context: String,
    pub(crate) subject_tag: String,
    /// A session at an identity provider.
    pub(crate) issuer: String,
    pub(crate) sid: String,
    pub(crate) provider_session: String,
    pub(crate) group_tag: String,
    /// As it is shown: 22 characters of base64url.
    pub(crate) handle: String,
    /// Unmasked.
    pub(crate) csrf_secret: String,
    pub(crate) csrf_mask: String,
    /// As it is shown: base64url of the mask and the masked secret.
    pub(crate) csrf_token: String,
    pub(crate) label: String,
    pub(crate) label_nonce: String,
    pub(crate) label_sealed: String,
    pub(crate) binding: String,
}

/// A cookie's value that is refused.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NegativeCase {
    pub(crate) name: String,
    pub(crate) keyring: Keys,
    pub(crate) context: String,
    pub(crate) cookie: String,
    pub(crate) refused: String,
}

/// A data map of another writer, and what a reader finds in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DataCase {
    pub(crate) name: String,
    pub(crate) data_cbor: String,
    /// Each key that is found, in the map's order, with the bytes of its value.
    pub(crate) entries: Vec<(String, String)>,
}

/// A device, and everything that is stamped and signed on the way to a bound session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeviceCase {
    pub(crate) name: String,
    /// The fingerprint key.
    pub(crate) key: String,
    pub(crate) session_id: String,
    pub(crate) handle: String,
    pub(crate) private_key: String,
    pub(crate) public_key: String,
    pub(crate) device: String,
    /// The time when all of this is issued.
    pub(crate) now: u64,
    pub(crate) ticket_life: u64,
    pub(crate) identifier: String,
    pub(crate) ticket: String,
    pub(crate) registration_challenge: String,
    pub(crate) registration_proof: String,
    pub(crate) refresh_challenge: String,
    pub(crate) refresh_proof: String,
    pub(crate) dpop_nonce: String,
}
