//! The engine's own entries inside a token, out of the application's reach.

use core::fmt;

use ciborium_ll::{Header, simple};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use self::provider::ProviderSession;
use crate::cbor::{self, CborError};
use crate::format::{
    CRITICAL_META, DEVICE_LEN, MAX_BINDING_LEN, MAX_PROVIDER_LEN, MAX_SUBJECT_LEN, PROVIDER_SESSION_LEN,
    TAG_TRUNCATED_LEN,
};
use crate::ids::{DeviceId, SubjectTag};
use crate::references::References;
use crate::time::{Millis, Timestamp};

mod provider;

/// The engine's own entries of a token: a CBOR map with integer keys, apart from the application's data.
///
/// The tag of the subject travels in the same map. Sealing adds it, and opening takes it out again: a subject without its
/// tag, or a tag without its subject, is malformed.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Meta {
    /// The subject passed to the login, or `None` if nobody is logged in.
    pub subject: Option<String>,
    /// The time when the subject last authenticated.
    #[zeroize(skip)]
    pub authenticated_at: Option<Timestamp>,
    /// The strength of the authentication on the application's own scale, by convention NIST's AAL 1 to 3.
    pub assurance_level: Option<u8>,
    /// Set to `true` if the cookie outlives the browser session; `None`: as configured.
    pub persistent: Option<bool>,
    /// The session's own idle timeout; `None`: as configured.
    #[zeroize(skip)]
    pub idle_timeout: Option<Millis>,
    /// The session's own absolute lifetime; `None`: as configured.
    #[zeroize(skip)]
    pub lifetime: Option<Millis>,
    /// A digest of the client properties that the session is bound to.
    pub binding: Option<Vec<u8>>,
    /// The messages for the next request: one encoded CBOR item.
    pub flash: Option<Vec<u8>>,
    /// The references to the session's values in the vault.
    pub vault: References,
    /// The device that the session is bound to.
    #[zeroize(skip)]
    pub device: Option<DeviceId>,
    /// The session at an identity provider that the login came from.
    #[zeroize(skip)]
    pub provider_session: Option<ProviderSession>,
    /// The entries that this version does not know, by ascending key. They are written again as they were read.
    pub(crate) later: Vec<Later>,
}

/// An entry of a later version: its key, and the bytes of key and value.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Later {
    key: u64,
    bytes: Vec<u8>,
}

/// An error in the meta map: bytes that we did not write, or entries that are too long to write.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaError {
    /// The bytes are not one CBOR map with ascending integer keys, an entry has the wrong type, a subject is without its tag
    /// or the reverse, or the messages are not one well-formed item.
    #[error("the meta map is malformed")]
    Malformed,
    /// The subject is empty, so it tells no account from another.
    #[error("the subject is empty; pass the identifier of the account, or log out instead")]
    SubjectEmpty,
    /// A later version wrote a critical entry, which this version does not know and must not pass over.
    #[error("the meta map has the critical entry {key}, which this version does not know")]
    Critical {
        /// The entry's key, [`CRITICAL_META`] or above.
        key: u64,
    },
    /// The subject is longer than [`MAX_SUBJECT_LEN`].
    #[error("the subject has {length} bytes, more than {MAX_SUBJECT_LEN}; use a shorter identifier of the account")]
    SubjectTooLong {
        /// The length in bytes.
        length: usize,
    },
    /// A claim that names a session at an identity provider is empty: sessions that have nothing in common would end together.
    #[error("the identity provider's `{claim}` is empty; name no session of the provider if it sent none")]
    ProviderEmpty {
        /// The claim: `iss` or `sid`.
        claim: &'static str,
    },
    /// A claim that names a session at an identity provider is longer than [`MAX_PROVIDER_LEN`].
    #[error(
        "the identity provider's `{claim}` has {length} bytes, more than {MAX_PROVIDER_LEN}; name no session of this provider"
    )]
    ProviderTooLong {
        /// The claim: `iss` or `sid`.
        claim: &'static str,
        /// The length in bytes.
        length: usize,
    },
    /// The binding digest is longer than [`MAX_BINDING_LEN`].
    #[error("the binding has {length} bytes, more than {MAX_BINDING_LEN}; hash it first")]
    BindingTooLong {
        /// The length in bytes.
        length: usize,
    },
}

impl From<CborError> for MetaError {
    fn from(_: CborError) -> Self {
        Self::Malformed
    }
}

const SUBJECT: u64 = 1;
const AUTHENTICATED_AT: u64 = 2;
const ASSURANCE_LEVEL: u64 = 3;
const PERSISTENT: u64 = 4;
const IDLE_TIMEOUT: u64 = 5;
const LIFETIME: u64 = 6;
const BINDING: u64 = 7;
const FLASH: u64 = 8;
const DEVICE: u64 = 9;
const VAULT: u64 = 10;
const SUBJECT_TAG: u64 = 11;
const PROVIDER_SESSION: u64 = 12;

impl Meta {
    /// Checks that every entry can be written and read again.
    ///
    /// # Errors
    ///
    /// [`MetaError`] names the entry and both lengths.
    pub fn check(&self) -> Result<(), MetaError> {
        self.check_lengths()?;
        if let Some(flash) = &self.flash {
            whole(flash, cbor::item)?;
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<(), MetaError> {
        if self.subject.as_deref() == Some("") {
            return Err(MetaError::SubjectEmpty);
        }
        if let Some(length) = self.subject.as_ref().map(String::len).filter(|length| *length > MAX_SUBJECT_LEN) {
            return Err(MetaError::SubjectTooLong { length });
        }
        if let Some(length) = self.binding.as_ref().map(Vec::len).filter(|length| *length > MAX_BINDING_LEN) {
            return Err(MetaError::BindingTooLong { length });
        }
        Ok(())
    }

    pub(crate) fn encoded_len(&self) -> usize {
        // Each of our keys has a head of one byte.
        let number = |value: Option<u64>| value.map_or(0, |value| 1 + cbor::head_len(value));
        let bytes = |length: Option<usize>| length.map_or(0, |length| 1 + cbor::head_len(length as u64) + length);
        cbor::head_len(self.count() as u64)
            + bytes(self.subject.as_ref().map(String::len))
            + number(self.authenticated_at.map(Timestamp::as_millis))
            + number(self.assurance_level.map(u64::from))
            + self.persistent.map_or(0, |_| 2)
            + number(self.idle_timeout.map(Millis::get))
            + number(self.lifetime.map(Millis::get))
            + bytes(self.binding.as_ref().map(Vec::len))
            + self.flash.as_ref().map_or(0, |flash| 1 + flash.len())
            + if self.vault.is_empty() { 0 } else { 1 + self.vault.encoded_len() }
            + bytes(self.device.map(|_| DEVICE_LEN))
            + bytes(self.subject.as_ref().map(|_| TAG_TRUNCATED_LEN))
            + bytes(self.provider_session.map(|_| PROVIDER_SESSION_LEN))
            + self.later.iter().map(|later| later.bytes.len()).sum::<usize>()
    }

    fn count(&self) -> usize {
        2 * usize::from(self.subject.is_some())
            + usize::from(self.authenticated_at.is_some())
            + usize::from(self.assurance_level.is_some())
            + usize::from(self.persistent.is_some())
            + usize::from(self.idle_timeout.is_some())
            + usize::from(self.lifetime.is_some())
            + usize::from(self.binding.is_some())
            + usize::from(self.flash.is_some())
            + usize::from(!self.vault.is_empty())
            + usize::from(self.device.is_some())
            + usize::from(self.provider_session.is_some())
            + self.later.len()
    }

    /// Appends the map, with the tag of the subject if there is a subject.
    pub(crate) fn append_to(&self, output: &mut Vec<u8>, tag: Option<&SubjectTag>) {
        debug_assert_eq!(self.subject.is_some(), tag.is_some());
        cbor::push_head(output, Header::Map(Some(self.count())));
        let mut entries = Entries { output, later: &self.later };
        if let Some(subject) = &self.subject {
            cbor::push_text(entries.key(SUBJECT), subject);
        }
        entries.number(AUTHENTICATED_AT, self.authenticated_at.map(Timestamp::as_millis));
        entries.number(ASSURANCE_LEVEL, self.assurance_level.map(u64::from));
        if let Some(persistent) = self.persistent {
            let value = if persistent { simple::TRUE } else { simple::FALSE };
            cbor::push_head(entries.key(PERSISTENT), Header::Simple(value));
        }
        entries.number(IDLE_TIMEOUT, self.idle_timeout.map(Millis::get));
        entries.number(LIFETIME, self.lifetime.map(Millis::get));
        if let Some(binding) = &self.binding {
            cbor::push_bytes(entries.key(BINDING), binding);
        }
        if let Some(flash) = &self.flash {
            entries.key(FLASH).extend_from_slice(flash);
        }
        if let Some(device) = &self.device {
            cbor::push_bytes(entries.key(DEVICE), device.as_bytes());
        }
        if !self.vault.is_empty() {
            self.vault.append_to(entries.key(VAULT));
        }
        if let Some(tag) = tag {
            cbor::push_bytes(entries.key(SUBJECT_TAG), tag.as_bytes());
        }
        if let Some(session) = &self.provider_session {
            cbor::push_bytes(entries.key(PROVIDER_SESSION), session.as_bytes());
        }
        entries.push_later_up_to(u64::MAX);
    }

    /// Reads one map with ascending integer keys, and the tag of its subject.
    ///
    /// Keeps the entries of a later version as they are, so hosts of two versions can serve one session. A critical one is
    /// an error.
    pub(crate) fn parse(mut input: &[u8]) -> Result<(Self, Option<SubjectTag>), MetaError> {
        let Header::Map(Some(count)) = cbor::head(&mut input)? else { return Err(MetaError::Malformed) };
        let (mut meta, mut tag) = (Self::default(), None);
        let (mut previous, mut critical) = (None, None);
        for _ in 0..count {
            let entry = input;
            let Header::Positive(key) = cbor::head(&mut input)? else { return Err(MetaError::Malformed) };
            if previous.is_some_and(|previous| previous >= key) {
                return Err(MetaError::Malformed);
            }
            previous = Some(key);
            let value = &mut input;
            match key {
                SUBJECT => meta.subject = Some(cbor::text(value)?.to_owned()),
                AUTHENTICATED_AT => meta.authenticated_at = Some(Timestamp::from_millis(number(value)?)),
                ASSURANCE_LEVEL => {
                    let level = u8::try_from(number(value)?).map_err(|_| MetaError::Malformed)?;
                    meta.assurance_level = Some(level);
                }
                PERSISTENT => meta.persistent = Some(boolean(value)?),
                IDLE_TIMEOUT => meta.idle_timeout = Some(Millis::new(number(value)?)),
                LIFETIME => meta.lifetime = Some(Millis::new(number(value)?)),
                BINDING => meta.binding = Some(bytes(value)?.to_vec()),
                FLASH => meta.flash = Some(cbor::item(value)?.to_vec()),
                VAULT => meta.vault = References::take(value)?,
                DEVICE => {
                    let bytes = DeviceId::try_from(bytes(value)?);
                    meta.device = Some(bytes.map_err(|_| MetaError::Malformed)?);
                }
                SUBJECT_TAG => {
                    let bytes = SubjectTag::try_from(bytes(value)?);
                    tag = Some(bytes.map_err(|_| MetaError::Malformed)?);
                }
                PROVIDER_SESSION => {
                    let digest = bytes(value)?.try_into().map_err(|_| MetaError::Malformed)?;
                    meta.provider_session = Some(ProviderSession::from_bytes(digest));
                }
                CRITICAL_META.. => {
                    cbor::item(value)?;
                    critical = critical.or(Some(key));
                }
                _ => {
                    cbor::item(value)?;
                    let bytes = &entry[..entry.len() - input.len()];
                    meta.later.push(Later { key, bytes: bytes.to_vec() });
                }
            }
        }
        if !input.is_empty() || meta.subject.is_some() != tag.is_some() {
            return Err(MetaError::Malformed);
        }
        if let Some(key) = critical {
            return Err(MetaError::Critical { key });
        }
        meta.check_lengths()?;
        Ok((meta, tag))
    }
}

/// A writer of the entries of a map that puts those of a later version in their places.
struct Entries<'a> {
    output: &'a mut Vec<u8>,
    later: &'a [Later],
}

impl Entries<'_> {
    /// Writes the key of our next entry, for its value to follow.
    fn key(&mut self, key: u64) -> &mut Vec<u8> {
        self.push_later_up_to(key);
        cbor::push_head(self.output, Header::Positive(key));
        self.output
    }

    fn number(&mut self, key: u64, value: Option<u64>) {
        if let Some(value) = value {
            cbor::push_head(self.key(key), Header::Positive(value));
        }
    }

    fn push_later_up_to(&mut self, key: u64) {
        while let Some((later, rest)) = self.later.split_first().filter(|(later, _)| later.key < key) {
            self.output.extend_from_slice(&later.bytes);
            self.later = rest;
        }
    }
}

fn whole<'a, T>(mut item: &'a [u8], read: impl FnOnce(&mut &'a [u8]) -> Result<T, CborError>) -> Result<T, MetaError> {
    let value = read(&mut item)?;
    if item.is_empty() { Ok(value) } else { Err(MetaError::Malformed) }
}

fn number(input: &mut &[u8]) -> Result<u64, CborError> {
    if let Header::Positive(number) = cbor::head(input)? { Ok(number) } else { Err(CborError::Malformed) }
}

fn boolean(input: &mut &[u8]) -> Result<bool, CborError> {
    match cbor::head(input)? {
        Header::Simple(simple::TRUE) => Ok(true),
        Header::Simple(simple::FALSE) => Ok(false),
        _ => Err(CborError::Malformed),
    }
}

fn bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], CborError> {
    if let Header::Bytes(Some(length)) = cbor::head(input)? {
        cbor::take(input, length)
    } else {
        Err(CborError::Malformed)
    }
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meta").field("logged_in", &self.subject.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Meta {
        Meta {
            subject: Some("alice".to_owned()),
            authenticated_at: Some(Timestamp::from_millis(u64::MAX)),
            assurance_level: Some(2),
            persistent: Some(false),
            idle_timeout: Some(Millis::from_secs(60)),
            lifetime: Some(Millis::ZERO),
            binding: Some(vec![7; 32]),
            flash: Some(vec![0x81, 0x61, b'x']),
            vault: References::take(&mut &VAULT_MAP[..]).expect("a map"),
            device: Some(DeviceId::from_bytes([5; 16])),
            provider_session: Some(ProviderSession::from_bytes([6; 16])),
            later: Vec::new(),
        }
    }

    /// One key, `a`, whose secret is 32 times `b`, with a value of 0x6262 bytes.
    const VAULT_MAP: [u8; 39] = {
        let mut map = [b'b'; 39];
        (map[0], map[1], map[2], map[3], map[4]) = (0xa1, 0x61, b'a', 0x58, 34);
        map
    };
    const TAG: SubjectTag = SubjectTag::from_bytes([9; 16]);

    fn written(meta: &Meta) -> Vec<u8> {
        let mut bytes = Vec::new();
        meta.append_to(&mut bytes, meta.subject.as_ref().map(|_| &TAG));
        bytes
    }

    #[test]
    fn every_entry_round_trips_in_the_length_that_was_foretold() {
        let mut alone = Meta::default();
        alone.persistent = Some(true);
        for meta in [Meta::default(), alone, full()] {
            let bytes = written(&meta);
            assert_eq!(bytes.len(), meta.encoded_len());
            let tag = meta.subject.as_ref().map(|_| TAG);
            assert!(Meta::parse(&bytes) == Ok((meta, tag)));
        }
    }

    #[test]
    fn malformed_maps_are_refused() {
        for bytes in [
            &[][..],
            &[0xa0, 0x00],
            &[0xa1, 0x01, 0x01],
            &[0xa2, 0x04, 0xf5, 0x04, 0xf5],
            &[0xa2, 0x04, 0xf5, 0x03, 0x01],
            &[0xa1, 0x03, 0x19, 0x01, 0x00],
            &[0xa1, 0x61, b'a', 0x01],
            &[0xa1, 0x0a, 0xa0],
            &[0xa1, 0x0a, 0x01],
            &[0xa1, 0x09, 0x41, 0x00],
            &[0xa1, 0x09, 0x01],
            &[0xa1, 0x0c, 0x41, 0x00],
            &[0xa1, 0x0c, 0x01],
            &[0xbf, 0xff],
        ] {
            assert_eq!(Meta::parse(bytes), Err(MetaError::Malformed), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_subject_without_its_tag_and_a_tag_without_a_subject_are_malformed() {
        let tag = [&[0x0b, 0x50][..], &[9; 16]].concat();
        let short = [&[0x0b, 0x4f][..], &[9; 15]].concat();
        let subject = [0x01, 0x61, b'a'];
        for bytes in
            [[&[0xa1][..], &subject].concat(), [&[0xa1][..], &tag].concat(), [&[0xa2][..], &subject, &short].concat()]
        {
            assert_eq!(Meta::parse(&bytes), Err(MetaError::Malformed), "{bytes:02x?}");
        }
        let both = [&[0xa2][..], &subject, &tag].concat();
        let (meta, tag) = Meta::parse(&both).expect("both");
        assert_eq!((meta.subject.as_deref(), tag), (Some("a"), Some(TAG)));
    }

    #[test]
    fn entries_of_a_later_version_are_written_as_they_were_read_in_their_places() {
        // 0, before all of ours; 13, behind them; 31 as the last that may be passed over, and its head in a spelling that
        // we would not choose.
        let bytes = [
            &[0xa6, 0x00, 0x80, 0x03, 0x02, 0x0d, 0x9f, 0x01, 0xff][..],
            &[0x0e, 0xf6, 0x18, 0x14, 0x61, b'x', 0x19, 0x00, 0x1f, 0xa0],
        ]
        .concat();
        let (mut meta, _) = Meta::parse(&bytes).expect("entries of a later version");
        assert_eq!((meta.assurance_level, meta.later.len()), (Some(2), 5));
        assert_eq!(written(&meta), bytes);
        assert_eq!(meta.encoded_len(), bytes.len());
        meta.subject = Some("alice".to_owned());
        let (again, tag) = Meta::parse(&written(&meta)).expect("its own");
        assert!(again == meta && tag == Some(TAG));
    }

    #[test]
    fn a_critical_entry_that_is_not_known_is_named() {
        let critical = |bytes: &[u8]| Meta::parse(bytes).expect_err("critical");
        assert_eq!(critical(&[0xa2, 0x03, 0x02, 0x18, 0x20, 0x80]), MetaError::Critical { key: 32 });
        assert_eq!(critical(&[0xa2, 0x18, 0x63, 0x80, 0x19, 0x01, 0x00, 0x80]), MetaError::Critical { key: 99 });
        // A map that is malformed as well was not written by a later version.
        assert_eq!(critical(&[0xa2, 0x18, 0x63, 0x80, 0x18, 0x63, 0x80]), MetaError::Malformed);
    }

    #[test]
    fn an_empty_subject_is_refused_when_it_is_written_and_when_it_is_read() {
        let mut meta = Meta::default();
        meta.subject = Some(String::new());
        assert_eq!(meta.check(), Err(MetaError::SubjectEmpty));
        let tag = [&[0xa2, 0x01, 0x60, 0x0b, 0x50][..], &[9; 16]].concat();
        assert_eq!(Meta::parse(&tag).err(), Some(MetaError::SubjectEmpty));
    }

    #[test]
    fn a_subject_of_a_megabyte_is_refused_with_both_lengths() {
        let mut meta = Meta::default();
        meta.subject = Some("x".repeat(1 << 20));
        let error = meta.check().expect_err("too long").to_string();
        assert!(error.contains("1048576") && error.contains("512"), "{error}");
    }

    #[test]
    fn the_longest_subject_and_binding_are_kept_and_a_byte_more_is_refused() {
        let mut meta = full();
        meta.subject = Some("x".repeat(MAX_SUBJECT_LEN));
        meta.binding = Some(vec![7; MAX_BINDING_LEN]);
        assert!(Meta::parse(&written(&meta)) == Ok((meta.clone(), Some(TAG))));

        meta.binding = Some(vec![7; MAX_BINDING_LEN + 1]);
        assert_eq!(meta.check(), Err(MetaError::BindingTooLong { length: MAX_BINDING_LEN + 1 }));
        meta.subject = Some("x".repeat(MAX_SUBJECT_LEN + 1));
        assert_eq!(meta.check(), Err(MetaError::SubjectTooLong { length: MAX_SUBJECT_LEN + 1 }));
    }
}
